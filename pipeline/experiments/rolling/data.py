"""Prepares the data of an origin: nothing in it is of a day after the test day, and vocabularies,
means and deviations are those of the training days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.tree import Config
from pipeline.data.prepare.csv_table import csv_to_parquet
from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.data.prepare.kuairand_features import COUNTED
from pipeline.data.prepare.kuairand_files import find_files
from pipeline.data.schema import Schema
from pipeline.data.sources.config import FilesConfig, SplitConfig
from pipeline.data.sources.resolve import resolve
from pipeline.data.sources.stores import LocalStore
from pipeline.data.sources.table import open_table
from pipeline.data.table.prepare import prepare_table
from pipeline.data.table.spec import TableSpec
from pipeline.experiments.rolling.origins import Origin
from pipeline.features.values import time
from pipeline.io.errors import UserError
from pipeline.io.files import has_file, write_json
from pipeline.io.json_types import Json
from pipeline.io.typed_json import read_typed

SOURCE = "source.json"
_REMEDY = "remove it, or give another --out"
Progress = Callable[[int, int, str], None]


class DailyData(Protocol):
    """Rows of many days."""

    @property
    def description(self) -> Json:
        """Where the rows come from."""

    def identity(self) -> Json:
        """Return what prepared folders depend on: equal for equal data."""

    def days(self) -> list[date]:
        """Return the days with rows, in order."""

    def prepare(self, origin: Origin, out: Path, progress: Progress) -> Schema:
        """Write the prepared folder `out`: val and test are one day each."""


@dataclass(frozen=True, slots=True)
class KuairandData:
    """KuaiRand's CSV files, and optionally a file of rows before them."""

    raw: Path
    early: Path | None

    @property
    def description(self) -> Json:
        early = None if self.early is None else str(self.early)
        return {"kind": "kuairand", "raw": str(self.raw), "early": early}

    def identity(self) -> Json:
        files = find_files(self.raw, with_random=False)
        paths = [*files.logs, *files.users, *files.videos]
        paths += [] if self.early is None else [self.early]
        return {**self.description, "files": {str(path): _state(path) for path in paths}}

    def days(self) -> list[date]:
        found: set[int] = set()
        with TemporaryDirectory() as folder:
            for path in find_files(self.raw, with_random=False).logs:
                out = Path(folder) / "days.parquet"
                csv_to_parquet(path, {"date": "day"}, out)
                found |= set(pl.scan_parquet(out).select(pl.col("date").unique()).collect()["date"])
        return [datetime.strptime(str(day), "%Y%m%d").date() for day in sorted(found)]

    def prepare(self, origin: Origin, out: Path, progress: Progress) -> Schema:
        # All labels are frozen, so that no label of a row's own day is in its features.
        return prepare_kuairand(
            self.raw,
            out,
            val_from=_number(origin.val),
            test_from=_number(origin.test),
            until=_number(origin.test),
            early=self.early,
            frozen_labels=tuple(COUNTED),
            progress=progress,
        )


@dataclass(frozen=True, slots=True)
class TableData:
    """A table of one's own with a column of times."""

    spec: TableSpec
    column: str

    @property
    def description(self) -> Json:
        return {"kind": "table", "source": list(self.spec.source.path), "time": self.column}

    def identity(self) -> Json:
        files = {
            file.name: _state(Path(file.path)) if isinstance(file.store, LocalStore) else file.size
            for table in (self.spec.source, *self.spec.join)
            for file in resolve(table)
        }
        return {**self.description, "spec": self.spec.model_dump(mode="json"), "files": files}

    def days(self) -> list[date]:
        source = open_table(self.spec.source)
        found: set[date | None] = set()
        for chunk in source.chunks:
            times = pl.DataFrame(pl.from_arrow(source.read(chunk, [self.column])))
            found |= set(times.select(self._day(times)).to_series().unique())
        return sorted(day for day in found if day is not None)

    def prepare(self, origin: Origin, out: Path, progress: Progress) -> Schema:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".rows-") as folder:
            rows = Path(folder) / "rows.parquet"
            self._copy(origin, rows)
            split = SplitConfig(
                by="time",
                column=self.column,
                val_from=f"{origin.val:%Y-%m-%d}",
                test_from=f"{origin.test:%Y-%m-%d}",
            )
            source = FilesConfig(path=(str(rows),))
            spec = self.spec.model_copy(update={"source": source, "split": split})
            return prepare_table(spec, out, progress=progress)

    def _copy(self, origin: Origin, out: Path) -> None:
        """Write the rows up to the test day. Memory: a chunk."""
        source = open_table(self.spec.source)
        writer: pq.ParquetWriter | None = None
        try:
            for chunk in source.chunks:
                table = source.read(chunk, list(source.types))
                times = pl.DataFrame(pl.from_arrow(table.select([self.column])))
                keep = times.select(self._day(times) <= origin.test).to_series().fill_null(False)
                writer = writer or pq.ParquetWriter(out, table.schema)
                writer.write_table(table.filter(pa.array(keep.to_arrow())))
        finally:
            if writer is not None:
                writer.close()

    def _day(self, times: pl.DataFrame) -> pl.Expr:
        return time(pl.col(self.column), times.schema[self.column]).dt.date()


def daily_data(base: Config, raw: Path | None, early: Path | None) -> DailyData:
    """Return the data of a configuration, or KuaiRand's in folder `raw`.

    Raises UserError if there are no days to find, or rows have weights.
    """
    if base.data.weight is not None:
        raise UserError(
            "data.weight: rows have weights, which errors clustered by user do not take; omit it"
        )
    if raw is not None:
        if early is not None and not early.is_file():
            raise UserError(f"--early {early}: no such file; give a CSV file")
        return KuairandData(raw, early)
    if early is not None:
        raise UserError("command line: --early needs --raw, the folder of KuaiRand's CSV files")
    spec = base.table_spec()
    if spec is None:
        raise UserError(
            "command line: --protocol rolling prepares each origin from raw rows: give --raw, the "
            "folder of KuaiRand's CSV files, or --config of a table of your own with a time"
        )
    column = spec.split.column if spec.split.by == "time" else base.data.time
    if column is None:
        raise UserError(
            "data.time: none, but rolling origins need days; name the table's column of times"
        )
    return TableData(spec, column)


def prepare_origin(data: DailyData, origin: Origin, folder: Path, progress: Progress) -> Schema:
    """Prepare an origin once, as a folder in `folder`; one that exists is complete.

    Raises UserError if `folder` has origins of other data.
    """
    out, source = folder / origin.name, folder / SOURCE
    if not has_file(source):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(source, data.identity())
    else:
        _check_same(read_typed(source, dict[str, Any], remedy=_REMEDY), data.identity(), folder)
    if not (out / "schema.json").is_file():
        return data.prepare(origin, out, progress)
    return Schema.load(out)


def _check_same(before: Json, now: Json, folder: Path) -> None:
    """Raise UserError if origins were prepared from other data, files or columns than now."""
    if before == now:
        return
    files, files_now = before.get("files", {}), now["files"]
    others = sorted(name for name in files_now if files_now[name] != files.get(name))
    what = f"{others[0]} was another file then" if others else "it has other settings"
    raise UserError(f"{folder}: prepared from other data than this command's ({what}); {_REMEDY}")


def _state(path: Path) -> list[int]:
    """Return size in bytes and time of the last change in nanoseconds."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _number(day: date) -> int:
    return int(f"{day:%Y%m%d}")
