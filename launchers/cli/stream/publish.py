"""`homerec publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from launchers.cli.command import Positive

Minutes = Annotated[float, Parameter(validator=Number(gt=0, lte=1e6))]


def publish(
    *,
    run: str,
    to: str,
    every: Minutes | None = None,
    tables: Literal["fp32", "fp16", "int8"] = "fp32",
    full_every: Positive = 50,
    keep: Positive = 2,
    work: Path | None = None,
) -> int:
    """Publish the newest checkpoint of a run, for 'homerec serve --follow'.

    The first model is a full folder. Each following one is an increment: the changed rows of its
    tables, and the tower.

    Args:
        run: folder of the run, which may be training.
        to: folder or address (s3://BUCKET/PATH), of this run alone.
        every: minutes after which to look for a newer checkpoint, again and again (default: once).
        tables: number format of the embedding tables.
        full_every: increments after which a full folder follows.
        keep: full folders to keep, with the increments after them; older ones are removed.
        work: local folder for the last model (default: RUN-published).
    """
    import time

    from pipeline.export.publish import Publisher
    from pipeline.increments.channel import Channel
    from pipeline.io.console import plain_console, print_line
    from pipeline.io.errors import UserError
    from pipeline.io.storage import open_folder

    console = plain_console()
    place = open_folder(run)
    if not place.is_dir():
        raise UserError(f"{run}: no such folder; give that of a run")
    folder = work
    if folder is None:
        if not isinstance(place, Path):
            raise UserError(f"--run {run}: is not on this machine; give a local folder with --work")
        folder = place.with_name(f"{place.name}-published")
    publisher = Publisher(
        Channel(to),
        folder,
        tables=tables,
        full_every=full_every,
        keep=keep,
        say=lambda line: print_line(plain_console(stderr=True), line),
    )
    while True:
        start = time.monotonic()
        try:
            found = publisher.newest(run)
        except (UserError, OSError) as error:
            if every is None:
                raise
            print_line(console, f"not published: {error}")
        else:
            if found is not None:
                what = "full folder" if found.is_full else f"{found.changed_rows:,} rows"
                print_line(
                    console,
                    f"published model {found.number} of step {found.step:,}: {what}, "
                    f"{found.bytes / 1e6:.1f} MB",
                )
            elif every is None:
                print_line(console, "the newest checkpoint is published already")
        if every is None:
            return 0
        time.sleep(max(0.0, 60 * every - (time.monotonic() - start)))
