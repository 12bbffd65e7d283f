"""Reads a table chunk by chunk: good rows, their splits, and the faults of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.sources.joined import JoinedTable, open_joined
from pipeline.data.sources.merge_chunks import MAX_ROWS, merge_chunks
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.splits import Splitter
from pipeline.features.checks import BadValue, Check, bad_rows, describe
from pipeline.features.distinct import Rows
from pipeline.features.program import FeatureProgram
from pipeline.io.errors import UserError

SHOWN = 10
"""Number of bad values that are listed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A bad value, for a message."""

    where: str
    """'FILE: row R (from 0)'."""
    column: str
    value: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}, column {self.column!r}: {self.value} is {self.what}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class TableRows:
    """Good rows of a chunk."""

    rows: Rows
    """Raw columns."""
    splits: NDArray[np.uint8]
    """[rows]"""
    parts: NDArray[np.int64]
    """Number in the chunk of each row's part, [rows]."""
    num_bad: int
    """Rows that were left out."""
    faults: list[Fault]
    """The first of their bad values."""


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """A chunk with all that its checks found."""

    frame: pl.DataFrame
    """Raw columns of the good rows."""
    splits: NDArray[np.uint8]
    """Of the good rows, [rows]."""
    numbers: NDArray[np.int64]
    """Numbers in the whole table of the good rows, [rows]."""
    num_bad: int
    failures: NDArray[np.int64]
    """Bad values by check, [checks]."""
    faults: list[tuple[int, Fault]]
    """The first bad values of each check, with its index."""


class Table:
    """A table with its feature program."""

    def __init__(
        self, spec: TableSpec, *, extra: Sequence[str] = (), max_rows: int = MAX_ROWS
    ) -> None:
        """Open the files; `extra` columns are read, too; chunks are merged up to `max_rows` rows.

        Raises UserError if a file is missing or has not the columns it needs.
        """
        self.spec = spec
        self.source: JoinedTable = open_joined(spec.source, spec.join)
        wanted = needed_columns(spec) | dict.fromkeys(extra, "extra")
        self.source.require(list(wanted))
        arrow = {name: self.source.types[name] for name in wanted}
        types = pl.DataFrame(pl.from_arrow(pa.schema(arrow).empty_table())).schema
        try:
            self.program = FeatureProgram(
                spec.features, spec.labels, types, user=spec.user, weight=spec.weight
            )
        except ValueError as error:
            raise UserError(f"features: {error}") from error
        self.types = types
        self._splitter = Splitter(spec.split, types)
        self.checks = _distinct([*self._splitter.checks, *self.program.checks])
        self._columns = list(wanted)
        self._coded = _to_code(spec, types)
        self.chunks = merge_chunks(self.source.chunks, max_rows)
        self._first_rows = [0, *accumulate(chunk.rows for chunk in self.chunks)]
        if not self.chunks:
            raise UserError(f"{self.source.files[0].name}: the table has no rows; check the path")

    @property
    def rows(self) -> int:
        """All rows, with bad ones."""
        return self._first_rows[-1]

    def check(self, index: int) -> CheckedRows:
        """Read a chunk and go on after bad rows, whatever on_bad_row is."""
        rows, splits = self._raw(index, self._columns)
        first = self._first_rows[index]
        numbers = np.arange(first, first + len(rows), dtype=np.int64)
        is_bad, failed = bad_rows(rows, self.checks)
        failures = np.bincount(failed["check"].to_numpy(), minlength=len(self.checks))
        if is_bad is None:
            return CheckedRows(rows.frame, splits, numbers, 0, failures, [])
        shown = failed.group_by("check", maintain_order=True).head(SHOWN).select(failed.columns)
        found = describe(rows, self.checks, shown, len(shown))
        faults = [
            (check, self._fault(index, one))
            for check, one in zip(shown["check"].to_list(), found, strict=True)
        ]
        kept = (~is_bad).to_numpy()
        num_bad = int(is_bad.sum())
        return CheckedRows(
            rows.filter(kept).frame, splits[kept], numbers[kept], num_bad, failures, faults
        )

    def _raw(self, index: int, columns: Sequence[str]) -> tuple[Rows, NDArray[np.uint8]]:
        """Return raw columns and splits of a chunk."""
        read = self.source.read(self.chunks[index], columns, coded=True)
        rows = Rows.from_arrow(read, self._coded)
        return rows, self._splitter.assign(rows, self._first_rows[index])

    def _fault(self, index: int, one: BadValue) -> Fault:
        where = self.source.locate(self.chunks[index], one.row)
        return Fault(where, one.column, one.value, one.what, one.remedy)

    def read_features(self, index: int, names: Iterable[str]) -> TableRows:
        """Read the columns of features, of a chunk without bad rows."""
        columns = [column for name in names for column in self.spec.features[name].columns(name)]
        rows, splits = self._raw(index, list(dict.fromkeys([*self._splitter.columns, *columns])))
        return TableRows(rows, splits, self._parts(index), 0, [])

    def _parts(self, index: int) -> NDArray[np.int64]:
        counts = self.chunks[index].part_rows
        return np.repeat(np.arange(len(counts)), counts)

    def read(self, index: int, *, num_faults: int = SHOWN) -> TableRows:
        """Read a chunk. Raises UserError for a bad row unless on_bad_row is skip."""
        rows, splits = self._raw(index, self._columns)
        is_bad, failed = bad_rows(rows, self.checks)
        if is_bad is None:
            return TableRows(rows, splits, self._parts(index), 0, [])
        found = describe(rows, self.checks, failed, num_faults)
        faults = [self._fault(index, one) for one in found]
        if self.spec.on_bad_row == "stop":
            raise UserError(f"{faults[0]} (or leave out such rows: data.on_bad_row skip)")
        good = (~is_bad).to_numpy()
        parts = self._parts(index)[good]
        return TableRows(rows.filter(good), splits[good], parts, int(is_bad.sum()), faults)


def _to_code(spec: TableSpec, types: Mapping[str, pl.DataType]) -> list[str]:
    """Return the columns whose values cost more than a look-up: text, and ids."""
    ids = {
        column
        for name, feature in spec.features.items()
        if feature.type == "id" and not feature.ids.quantiles and not feature.part
        for column in feature.columns(name)
    }
    return [
        name
        for name, kind in types.items()
        if not kind.is_nested() and (name in ids or kind == pl.String)
    ]


def _distinct(checks: Sequence[Check]) -> list[Check]:
    """Keep one of equal checks: two features may be of the same column."""
    kept: list[Check] = []
    for check in checks:
        if not any(
            (check.column, check.what) == (one.column, one.what)
            and check.is_bad.meta.eq(one.is_bad)
            for one in kept
        ):
            kept.append(check)
    return kept


def needed_columns(spec: TableSpec) -> dict[str, str]:
    """Return the raw columns that a table needs -> the field that names it."""
    found: dict[str, str] = {}
    for name, feature in spec.features.items():
        found |= {column: f"features.{name}" for column in feature.columns(name)}
    found |= {label.column or name: f"data.labels.{name}" for name, label in spec.labels.items()}
    for field, column in (
        ("user", spec.user),
        ("weight", spec.weight),
        ("split.column", spec.split.column),
    ):
        if column is not None:
            found[column] = f"data.{field}"
    return found
