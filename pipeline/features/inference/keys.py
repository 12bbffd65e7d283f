"""Numbers that tell users or items apart, such as the number of a flight."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping

import polars as pl

from pipeline.features.inference.profile import Profile

_FEWEST = 64
"""Distinct values from which a number may be a key."""
_ROWS_PER_KEY = 2
"""Rows per distinct value that it takes for that."""
_KAPPA = 0.2
"""Median over other columns from which it is one."""
_COMPARED = 16
"""Most columns that a number is compared with."""


def find_keys(columns: Mapping[str, Profile], names: Collection[str]) -> set[str]:
    """Return those of `names` that are numbers whose equal values mean much the same row.

    Rows of one user agree in most columns, rows of one age or one price in few: judged by the
    median of Cohen's kappa over the other columns of `names`. Of numbers that determine each other,
    as an amount and its logarithm do, the first one is returned.
    """
    usable = [columns[one] for one in names if columns[one].kind not in ("list", "other", "empty")]
    codes = pl.DataFrame({str(index): one.codes for index, one in enumerate(usable)})
    chance = {
        str(index): _equal_pairs(codes, str(index)) / (len(codes) * (len(codes) - 1))
        for index in range(0, len(usable), -(-len(usable) // _COMPARED) or 1)
        if usable[index].distinct > 1
    }
    found: list[str] = []
    for name, column in zip(codes.columns, usable, strict=True):
        recurs = _FEWEST <= column.distinct <= column.filled / _ROWS_PER_KEY
        if column.kind not in ("whole", "number") or not recurs:
            continue
        rows = codes.drop_nulls(name)
        pairs = _equal_pairs(rows, name)
        kappas = [
            (_equal_pairs(rows, name, other) / pairs - by_chance) / (1 - by_chance)
            for other, by_chance in chance.items()
            if other != name
        ]
        same = (rows.select(pl.struct(name, one).n_unique()).item() for one in found)
        if kappas and statistics.median(kappas) >= _KAPPA and column.distinct not in same:
            found.append(name)
    return {usable[int(name)].name for name in found}


def _equal_pairs(rows: pl.DataFrame, *names: str) -> float:
    """Return the number of ordered pairs of rows that agree in all these columns."""
    counts = rows.group_by(names).len()["len"].cast(pl.Float64)
    return float((counts * (counts - 1)).sum())
