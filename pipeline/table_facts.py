"""Facts of tables, counted in Parquet: one pass a table, its columns alone, in bounded memory.

A table needs about 50 bytes for each distinct id that is looked up, and a few million ids at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embeddings.planner.facts import Accesses, Facts, FeatureFacts
from embeddings.planner.tables import ListedTable
from pipeline.errors import UserError, nearest

Ints = NDArray[np.int64]

_ROWS = 2**14
_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """How ids become rows of a table: below `known` as they are, others by `known` + id % `rest`.

    `rest` 0: others are refused.
    """

    known: int
    rest: int
    null: int | None = None
    """The row of a missing id; None: it is no id."""
    remedy: str = "give it more rows, or --fold to take ids modulo its rows"
    """Where ids outside are refused."""

    def rows(self, ids: Ints, where: str) -> Ints:
        if not ids.size or ids.view(np.uint64).max() < self.known:  # negative ones are huge
            return ids
        if ids.min() < 0:
            raise UserError(f"{where}: {ids.min()} is a negative id; give ids from 0 on")
        if not self.rest:
            raise UserError(
                f"{where}: id {ids.max()} in a table of {self.known} rows; {self.remedy}"
            )
        return np.where(ids < self.known, ids, self.known + (ids - self.known) % self.rest)


def measure(
    files: Sequence[Path],
    tables: Sequence[ListedTable],
    folds: Mapping[str, Fold],
    source: str,
    at_once: int = 2**22,
) -> Facts:
    """Facts of `tables`, whose features are columns of `files` (integers, or lists of them).

    Batches are of rows as they stand in the files, one file after the other. About `at_once` ids
    are sorted at once. UserError for a file
    that cannot be read, a column that is missing or of another type, and an id outside its table.
    """
    footers = [_footer(path, tables) for path in files]
    rows = sum(footer.num_rows for footer in footers)
    if not rows:
        raise UserError(f"{source}: no rows; name data that has some")
    features: dict[str, FeatureFacts] = {}
    found: dict[str, Accesses] = {}
    for table in tables:
        lengths = {name: np.zeros(1, np.int64) for name in table.feature_names}
        counter = _Counter(rows)
        for ids, of_row in _chunks(files, table, folds[table.name], lengths, at_once):
            counter.add(ids, of_row)
        features |= {name: _lengths(counts) for name, counts in lengths.items()}
        found[table.name] = counter.accesses(table)
    return Facts(source=source, rows=rows, features=features, tables=found)


class _Counter:
    """Lookups of one table, row after row of the data."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._ids = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)
        """Of each id, ascending: lookups so far, and the row of the last one."""
        # [l] lookups whose id was not in the same 2^k rows before, for k < l alone.
        self._fresh = np.zeros(65, np.int64)

    def add(self, ids: Ints, rows: Ints) -> None:
        """Lookups of `ids`, in `rows` of the data (ascending, none before those added already)."""
        order = np.argsort(ids, kind="stable")
        ids, rows = ids[order], rows[order]
        first = np.concatenate([[True], ids[1:] != ids[:-1]])
        starts = np.flatnonzero(first)
        unique, counts = ids[starts], np.diff(starts, append=len(ids))
        place = np.searchsorted(self._ids, unique)
        new = np.ones(len(unique), bool)
        inside = place < len(self._ids)
        new[inside] = self._ids[place[inside]] != unique[inside]
        before = np.concatenate([[-1], rows[:-1]])
        before[starts] = -1
        before[starts[~new]] = self._last[place[~new]]
        # Rows r and s are in one block of 2^k if they agree but for k bits; and a block is whole if
        # its number is not that of the end's.
        apart = np.where(before < 0, 64, _bits(rows ^ before))
        whole = _bits(rows ^ self._rows)
        self._fresh += np.bincount(np.minimum(apart, whole), minlength=65)
        ends = rows[starts + counts - 1]
        self._counts[place[~new]] += counts[~new]
        self._last[place[~new]] = ends[~new]
        if new.any():
            at = place[new]
            self._ids = np.insert(self._ids, at, unique[new])
            self._counts = np.insert(self._counts, at, counts[new])
            self._last = np.insert(self._last, at, ends[new])

    def accesses(self, table: ListedTable) -> Accesses:
        counts, rows = np.unique(self._counts, return_counts=True)
        sizes = self._rows.bit_length()
        distinct = self._fresh[::-1].cumsum()[::-1][1 : sizes + 1]
        blocks = self._rows >> np.arange(sizes)
        return Accesses(
            rows=table.rows,
            features=table.feature_names,
            spectrum=tuple(zip(counts[::-1].tolist(), rows[::-1].tolist(), strict=True)),
            distinct=(*(distinct / blocks).tolist(), float(len(self._ids))),
        )


def _bits(numbers: Ints) -> Ints:
    """Bits that each number has (0 for 0), which a float of 53 bits tells exactly."""
    found: Ints = np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
    return found


def _lengths(counts: Ints) -> FeatureFacts:
    """`counts[n]`: rows with n ids."""
    rows = counts.sum()
    reached = counts.cumsum()
    return FeatureFacts(
        mean=float((counts * np.arange(len(counts))).sum() / rows),
        empty=float(counts[0] / rows),
        quantiles={
            name: int(np.searchsorted(reached, np.ceil(share * rows))) for name, share in _QUANTILES
        },
    )


def _chunks(
    files: Sequence[Path],
    table: ListedTable,
    fold: Fold,
    lengths: dict[str, Ints],
    at_once: int,
) -> Iterator[tuple[Ints, Ints]]:
    """(ids, their rows of the data) of a few million lookups; `lengths` are counted on the way."""
    waiting: list[tuple[Ints, Ints]] = []
    row = held = 0
    for path in files:
        try:
            with pq.ParquetFile(path) as parquet:
                names = list(table.feature_names)
                for batch in parquet.iter_batches(
                    min(_ROWS, at_once), columns=names, use_threads=False
                ):
                    mine = []
                    for name in names:
                        ids, of_row, counts = _flat(batch.column(name), fold)
                        total = np.bincount(counts, minlength=len(lengths[name]))
                        total[: len(lengths[name])] += lengths[name]
                        lengths[name] = total
                        where = f"{path}, column {name!r}"
                        mine.append((fold.rows(ids, where), of_row + row))
                    waiting.append(_in_order(mine))
                    row += len(batch)
                    held += len(waiting[-1][0])
                    if held > at_once:
                        yield _joined(waiting)
                        waiting, held = [], 0
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if held:
        yield _joined(waiting)


def _flat(column: pa.Array, fold: Fold) -> tuple[Ints, Ints, Ints]:
    """Ids, the row of each, and how many each row has."""
    if pa.types.is_integer(column.type):
        lengths = np.ones(len(column), np.int64)
        ids = column
    else:
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        lengths = lengths.astype(np.int64)
        ids = column.flatten()
    of_row = np.repeat(np.arange(len(column)), lengths)
    ids = ids.cast(pa.int64())
    if ids.null_count:
        if fold.null is None:
            there = ids.is_valid().to_numpy(zero_copy_only=False)
            ids, of_row = ids.drop_null(), of_row[there]
        else:
            ids = ids.fill_null(fold.null)
    return (
        ids.to_numpy(zero_copy_only=False),
        of_row,
        np.bincount(of_row, minlength=len(column)),
    )


def _in_order(parts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Of several features, row after row."""
    if len(parts) == 1:
        return parts[0]
    ids, rows = _joined(parts)
    order = np.argsort(rows, kind="stable")
    return ids[order], rows[order]


def _joined(parts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([rows for _, rows in parts])


def _footer(path: Path, tables: Sequence[ListedTable]) -> pq.FileMetaData:
    """Of a file with all columns; UserError for one that lacks any."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a Parquet file ({reason}); name one") from error
    schema = footer.schema.to_arrow_schema()
    names = [name for table in tables for name in table.feature_names]
    if not any(name in schema.names for name in names):
        shown = ", ".join(schema.names[:10])
        raise UserError(
            f"{path}: none of the tables' features is a column of it; columns: {shown}; "
            "name the features in the table list as the columns are named"
        )
    for name in names:
        if name not in schema.names:
            raise UserError(f"{path}: no column {name!r}; {nearest(name, schema.names)}")
        kind = schema.field(name).type
        is_list = any(
            test(kind)
            for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        )
        if not pa.types.is_integer(kind.value_type if is_list else kind):
            raise UserError(
                f"{path}: column {name!r} is {kind}; ids must be integers or lists of integers"
            )
    return footer
