"""Measures what preparing a table costs, against a plain Polars read and write of its files.

Each measurement is a process of its own, after its imports:

    python -m pipeline.data.table.cost polars|prepare SPEC.json OUT
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.formats import formats_of
from pipeline.data.sources.joined import open_joined
from pipeline.data.sources.resolve import resolve
from pipeline.data.table.prepare import prepare_table
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.table_rows import needed_columns
from pipeline.io.errors import UserError


@dataclass(frozen=True)
class Cost:
    """What a process took, after its imports."""

    seconds: float
    cpu_seconds: float
    """Of all threads."""
    peak_mb: float
    """Largest resident memory, imports included."""


def measure(spec: TableSpec) -> tuple[list[Cost], Cost]:
    """Return the costs of Polars, before and after that of preparing, and that one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_text(spec.model_dump_json(), encoding="utf-8")
        first = _measured("polars", path, Path(folder) / "first")
        ours = _measured("prepare", path, Path(folder) / "ours")
        return [first, _measured("polars", path, Path(folder) / "second")], ours


def _measured(what: str, spec: Path, out: Path) -> Cost:
    words = [sys.executable, "-m", "pipeline.data.table.cost", what, str(spec), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(lines[-1].removeprefix("pipeline.io.errors.UserError: "))
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def read_and_write(spec: TableSpec, out: Path) -> None:
    """Read the columns that the table needs, join the side tables, write Parquet: with Polars."""
    columns = list(needed_columns(spec))
    table = open_joined(spec.source, spec.join)
    frame = _scan(spec.source)
    for join in spec.join:
        keys = join.keys
        frame = frame.join(
            _scan(join), left_on=list(keys), right_on=list(keys.values()), how="left"
        )
    found = frame.select([name for name in columns if name in table.types])
    out.mkdir()
    found.sink_parquet(out / "part.parquet", compression="zstd")


def _scan(files: FilesConfig) -> pl.LazyFrame:
    found = resolve(files)
    paths = [file.name for file in found]
    formats = set(formats_of(found, files.format))
    if len(formats) > 1 or any("://" in path for path in paths):
        raise UserError(
            f"{paths[0]}: only local files of one format can be compared with plain Polars"
        )
    match formats.pop():
        case "parquet":
            return pl.scan_parquet(paths)
        case "arrow":
            return pl.scan_ipc(paths)
        case "jsonl":
            return pl.scan_ndjson(paths)
        case _:
            return pl.scan_csv(
                paths,
                separator=files.separator or ",",
                has_header=files.header is not False,
                null_values=list(files.null_values),
                infer_schema_length=10_000,
                ignore_errors=True,
            )


def _main(what: str, spec_file: str, out: str) -> None:
    spec = TableSpec.model_validate_json(Path(spec_file).read_text(encoding="utf-8"))
    works: dict[str, Callable[[], object]] = {
        "polars": lambda: read_and_write(spec, Path(out)),
        "prepare": lambda: prepare_table(spec, Path(out), progress=lambda done, total, what: None),
    }
    start, cpu = time.perf_counter(), time.process_time()
    works[what]()
    cost = Cost(
        time.perf_counter() - start,
        time.process_time() - cpu,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
