"""Reads ids in Parquet columns as table rows, a few million at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embeddings.planner.inputs.table_list import ListedTable
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError, nearest
from pipeline.io.parquet_input import open_input, read_footer

_ROWS = 2**14


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """How ids become rows of a table: below `known` as they are, others by `known` + id % `rest`.

    `rest` 0: other ids are an error.
    """

    known: int
    rest: int
    null: int | None = None
    """Row of a missing id; None: missing ids are ignored."""
    remedy: str = "give it more rows, or --fold to take ids modulo its rows"
    """Of the error for an id outside."""

    def rows(self, ids: IntArray, where: str) -> IntArray:
        if not ids.size or ids.view(np.uint64).max() < self.known:  # negative ids are huge
            return ids
        if ids.min() < 0:
            raise UserError(f"{where}: {ids.min()} is a negative id; ids start at 0")
        if not self.rest:
            raise UserError(
                f"{where}: id {ids.max()} in a table of {self.known} rows; {self.remedy}"
            )
        return np.where(ids < self.known, ids, self.known + (ids - self.known) % self.rest)


def id_chunks(
    files: Sequence[Path],
    table: ListedTable,
    fold: Fold,
    lengths: dict[str, IntArray],
    at_once: int,
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (ids, rows of the data) of a few million lookups; also counts `lengths`."""
    pending: list[tuple[IntArray, IntArray]] = []
    row = num_pending = 0
    for path in files:
        try:
            with open_input(path) as file, pq.ParquetFile(file) as parquet:
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
                    pending.append(_in_order(mine))
                    row += len(batch)
                    num_pending += len(pending[-1][0])
                    if num_pending > at_once:
                        yield _joined(pending)
                        pending, num_pending = [], 0
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if num_pending:
        yield _joined(pending)


def _flat(column: pa.Array, fold: Fold) -> tuple[IntArray, IntArray, IntArray]:
    """Return ids, the row of each, and the number of ids per row."""
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


def _in_order(parts: Sequence[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    """Merge several features by row."""
    if len(parts) == 1:
        return parts[0]
    ids, rows = _joined(parts)
    order = np.argsort(rows, kind="stable")
    return ids[order], rows[order]


def _joined(parts: Sequence[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([rows for _, rows in parts])


def id_footer(path: Path, tables: Sequence[ListedTable]) -> pq.FileMetaData:
    """Return the footer of a file. Raises UserError if a column is missing or has no integers."""
    try:
        footer = read_footer(path)
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a Parquet file ({reason}); give a Parquet file") from error
    names = [name for table in tables for name in table.feature_names]
    if not any(name in schema.names for name in names):
        shown = ", ".join(schema.names[:10])
        raise UserError(
            f"{path}: no column has the name of a feature; columns: {shown}; "
            "use the names of columns for the features in the table list"
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
