"""Evaluates expressions of one column on its distinct values alone.

Logs repeat their values. Text is parsed, checked and looked up once for each distinct value of a
column in a chunk; rows then take the results by number. Results are those of the rows themselves,
because expressions are functions of each row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_MIN_ROWS = 2048
"""Fewer rows are evaluated as they are."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A column: `values`, or if there are `codes`, its value in each row is values[codes]."""

    values: pl.Series
    codes: NDArray[np.uint32] | None = None

    @property
    def series(self) -> pl.Series:
        """The column, row by row."""
        return self.values if self.codes is None else self.values.gather(self.codes)

    def filter(self, kept: NDArray[np.bool_]) -> Coded:
        """Keep some rows."""
        if kept.all():
            return self
        if self.codes is None:
            return Coded(self.values.filter(pl.Series(kept)))
        return Coded(self.values, self.codes[kept])

    def map(self, function: Callable[[pl.Series], pl.Series]) -> Coded:
        """Apply an elementwise function of a series, which costs less than an expression."""
        return Coded(function(self.values).alias(self.values.name), self.codes)

    def select(self, expression: pl.Expr) -> Coded:
        """Evaluate an elementwise expression of the column, under its name."""
        return Coded(self.values.to_frame().select(expression).to_series(), self.codes)

    def counts(self) -> pl.DataFrame:
        """Count the rows of each value, or of each value of lists: columns id and count.

        Null is left out. A value may be there more than once.
        """
        values = self.values.alias("id")
        if self.codes is None:
            if values.dtype == pl.List:
                values = values.explode(empty_as_null=False, keep_nulls=False)
            return values.drop_nulls().value_counts(name="count").cast({"count": pl.Int64})
        counts = np.bincount(self.codes, minlength=len(values)).astype(np.int64)
        found = pl.DataFrame([values, pl.Series("count", counts)]).filter(pl.col("count") > 0)
        if values.dtype == pl.List:
            found = found.explode("id", empty_as_null=False, keep_nulls=False)
        return found.drop_nulls("id")


class Rows:
    """Rows of raw columns, some of which are kept as distinct values and codes."""

    def __init__(self, frame: pl.DataFrame, coded: Mapping[str, Coded] | None = None) -> None:
        """`frame`: columns row by row; `coded`: the others."""
        self._frame = frame
        self._coded = dict(coded or {})

    @staticmethod
    def from_arrow(table: pa.Table, to_code: Collection[str]) -> Rows:
        """Code the columns `to_code` that repeat their values, if there are enough rows.

        Text may come as dictionaries.
        """
        coded = {}
        for name in table.column_names:
            column = table[name]
            if name in to_code and len(table) >= _MIN_ROWS:
                found = _code(column.unify_dictionaries().combine_chunks())
                if found is not None:
                    values, codes = found
                    coded[name] = Coded(pl.Series(name, values), codes)
                    table = table.drop_columns(name)
                    continue
            if pa.types.is_dictionary(column.type):
                place = table.column_names.index(name)
                table = table.set_column(place, name, column.cast(pa.large_string()))
        return Rows(pl.DataFrame(pl.from_arrow(table)), coded)

    def __len__(self) -> int:
        for one in self._coded.values():
            assert one.codes is not None
            return len(one.codes)
        return len(self._frame)

    def __getitem__(self, name: str) -> pl.Series:
        """Return a column, row by row."""
        return self._coded[name].series if name in self._coded else self._frame[name]

    @property
    def frame(self) -> pl.DataFrame:
        """All columns, row by row."""
        return self._frame.with_columns(one.series for one in self._coded.values())

    def filter(self, kept: NDArray[np.bool_]) -> Rows:
        """Keep some rows."""
        if kept.all():
            return self
        return Rows(
            self._frame.filter(pl.Series(kept)),
            {name: one.filter(kept) for name, one in self._coded.items()},
        )

    def take(self, order: NDArray[np.uint32]) -> Rows:
        """Return the rows in another order."""
        coded = {}
        for name, one in self._coded.items():
            assert one.codes is not None
            coded[name] = Coded(one.values, one.codes[order])
        return Rows(self._frame.select(pl.all().gather(order)), coded)

    def select(self, expressions: Sequence[pl.Expr]) -> dict[str, Coded]:
        """Evaluate elementwise expressions; returns columns by output name."""
        by_column: dict[str | None, list[pl.Expr]] = {}
        several: set[str] = set()
        names = []
        for one in expressions:
            names.append(one.meta.output_name())
            roots = set(one.meta.root_names())
            column = roots.pop() if len(roots) == 1 else None
            if column not in self._coded:
                several |= roots if column is None else set()
                column = None
            by_column.setdefault(column, []).append(one)
        found: dict[str, Coded] = {}
        for column, group in by_column.items():
            frame = self._frame
            codes = None
            if column is not None:
                frame, codes = self._coded[column].values.to_frame(), self._coded[column].codes
            elif used := several & self._coded.keys():
                frame = frame.with_columns(self._coded[name].series for name in sorted(used))
            for series in frame.lazy().select(group).collect().get_columns():
                if len(series) != len(frame):  # of constants only
                    series = series.new_from_index(0, len(frame))
                found[series.name] = Coded(series, codes)
        return {name: found[name] for name in names}


def _code(column: pa.Array) -> tuple[pa.Array, NDArray[np.uint32]] | None:
    """Return distinct values and the place of each row's value; None if they hardly repeat."""
    if pa.types.is_dictionary(column.type):
        values = column.dictionary.cast(pa.large_string())
        places, codes = _code_integers(column.indices.cast(pa.int64()))
        return values.take(places), codes
    if column.type == pa.int64() and len(column) > column.null_count:
        ends = pc.min_max(column).as_py()
        if ends["max"] - ends["min"] < 4 * len(column):
            return _code_integers(column)
    found = column.dictionary_encode("encode")
    if 2 * len(found.dictionary) > len(column):
        return None
    return found.dictionary, found.indices.to_numpy().astype(np.uint32)


def _code_integers(column: pa.Array) -> tuple[pa.Array, NDArray[np.uint32]]:
    """Return distinct integers, ascending and null last, and the place of each row's."""
    first = pc.min(column).as_py() or 0
    offsets = column.fill_null(first).to_numpy() - first
    is_there = np.zeros(int(offsets.max(initial=0)) + 1, dtype=np.bool_)
    is_there[offsets] = column.null_count < len(column)
    values = np.flatnonzero(is_there)
    codes = (np.cumsum(is_there, dtype=np.uint32) - np.uint32(1))[offsets]
    nulls = [None] if column.null_count else []
    if nulls:
        codes[column.is_null().to_numpy(zero_copy_only=False)] = len(values)
    return pa.concat_arrays([pa.array(values + first), pa.array(nulls, pa.int64())]), codes
