"""Counts TableStats in Parquet files: one pass over the columns of each table, in bounded memory.

A table needs about 50 bytes per distinct id, and memory for a few million ids at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.table_stats import AccessCounts, FeatureStats, TableStats
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.planning.id_columns import Fold, id_chunks, id_footer
from pipeline.planning.lookup_counts import LookupCounts

_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))


def collect_table_stats(
    files: Sequence[Path],
    tables: Sequence[ListedTable],
    folds: Mapping[str, Fold],
    source: str,
    at_once: int = 2**22,
) -> TableStats:
    """TableStats of `tables`, whose features are columns of `files` (integers, or lists of them).

    Batches are of rows as they stand in the files, one file after the other. About `at_once` ids
    are sorted at once. UserError for a file
    that cannot be read, a column that is missing or of another type, and an id outside its table.
    """
    footers = [id_footer(path, tables) for path in files]
    rows = sum(footer.num_rows for footer in footers)
    if not rows:
        raise UserError(f"{source}: no rows; give data with rows")
    features: dict[str, FeatureStats] = {}
    found: dict[str, AccessCounts] = {}
    for table in tables:
        lengths = {name: np.zeros(1, np.int64) for name in table.feature_names}
        counter = LookupCounts(rows)
        for ids, of_row in id_chunks(files, table, folds[table.name], lengths, at_once):
            counter.add(ids, of_row)
        features |= {name: _lengths(counts) for name, counts in lengths.items()}
        found[table.name] = counter.accesses(table)
    return TableStats(source=source, rows=rows, features=features, tables=found)


def _lengths(counts: IntArray) -> FeatureStats:
    """`counts[n]`: number of rows with n ids."""
    rows = counts.sum()
    reached = counts.cumsum()
    return FeatureStats(
        mean=float((counts * np.arange(len(counts))).sum() / rows),
        empty=float(counts[0] / rows),
        quantiles={
            name: int(np.searchsorted(reached, np.ceil(share * rows))) for name, share in _QUANTILES
        },
    )
