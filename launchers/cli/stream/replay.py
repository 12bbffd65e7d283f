"""`homerec replay`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

NotNegative = Annotated[float, Parameter(validator=Number(gte=0, lte=1e9))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0.001, lte=1e9))]
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def replay(
    *files: Annotated[str, Parameter(show=True)],
    time: str,
    to: str,
    unit: Literal["s", "ms", "us", "ns"] = "ms",
    speed: NotNegative = 1.0,
    every: Seconds = 1.0,
    key: str | None = None,
) -> int:
    """Write the rows of a log as if they came live, for 'homerec train --follow' to read.

    The log is read into memory and sorted by time.

    Args:
        files: files, folders or patterns; Parquet, CSV, Arrow, JSON lines or Delta.
        time: column of times.
        to: a folder, which gets one Parquet file per write, or kafka://HOST:PORT/TOPIC, which gets
            one JSON message per row.
        unit: unit of a time column of numbers.
        speed: seconds of the log per second; 0: as fast as possible.
        every: seconds between two writes; of the log with --speed 0.
        key: column whose values are the keys of Kafka's messages: rows of one key keep their order.
    """
    from launchers.cli.model.score_progress import Progress
    from pipeline.data.sources.config import FilesConfig
    from pipeline.io.console import plain_console, print_line
    from pipeline.io.errors import UserError
    from pipeline.replay.log import Log
    from pipeline.replay.replay import replay as run
    from pipeline.replay.sinks import open_sink

    if not files:
        raise UserError("command line: no files; give those of the log")
    log = Log(FilesConfig(path=files), time, _UNITS[unit])
    hours = log.length_s / 3600
    console = plain_console()
    print_line(console, f"{len(log.rows):,} rows over {hours:,.2f} hours of the log")
    with open_sink(to, key) as sink:
        done = run(log, sink, speed=speed, every_s=every, progress=Progress("replay"))
    print_line(console, f"wrote {done:,} rows to {to}")
    return 0
