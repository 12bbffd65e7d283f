"""Type, ids and transforms of a feature, from the profile of its column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.features.inference.labels import percent, share
from pipeline.features.inference.names import is_id
from pipeline.features.inference.profile import Profile

_FEW = 24
"""Whole numbers with at most so many distinct values are ids."""
_ROWS_PER_VALUE = 20
"""Rows per distinct value that it takes for that."""
_MANY = 1_000
"""Values from which a vocabulary is written out with its min_count."""
MAX_VOCABULARY = 2_000_000
"""Estimated number of distinct values over which they are hashed."""
_HASH_ROWS = 1_000_000
_LARGE = 1_000_000
"""Whole numbers that are all at least this large, and recur, are ids."""
_SKEWED = 2.0
_RANGES = ((12_800, 64), (2_000, 20), (0, 10))
"""(rows, ranges): ranges of a number in a table with at least so many rows."""
_TOP, _MAX_RANGES = 0.2, 1000
"""From this share of one number on, as of zeros in amounts, the others get as many ranges."""
_LONG = 50
"""Length over which lists are cut, at the 99% quantile."""


@dataclass(frozen=True)
class Feature:
    """A proposed feature, as written under `features`."""

    fields: Mapping[str, Any]
    why: str
    suffix: str = ""
    """Of the feature's name, if the column has another feature."""


def propose_features(
    column: Profile, total_rows: int, weights: str | None = None, is_key: bool = False
) -> list[Feature]:
    """Return the features of a column: one, or a number and ids of its values or ranges of them.

    `weights`: column of the weights of a list. `is_key`: equal numbers mean much the same row.
    """
    if column.kind == "list":
        return [_list(column, total_rows, weights)]
    if (reason := _why_id(column)) is None:
        found = [_number(column), _ranges(column, total_rows)]
        if is_key:
            found.append(_values(column, total_rows))
        return found
    ids = _ids(column, total_rows)
    more = f"{reason}, {ids.why}" if ids.why else reason
    found = [Feature({"type": "id", **ids.fields}, f"{more}{_missing(column)}")]
    if column.distinct > 2 and _is_few(column) and not is_id(column.name):
        fields = {**_number(column).fields, "column": column.name}
        found.append(Feature(fields, "their order", suffix="_number"))
    return found


def _why_id(column: Profile) -> str | None:
    """Say why a column holds ids; None for numbers."""
    count = f"{column.distinct:,} distinct"
    if column.kind == "bool":
        return "true or false"
    if column.kind in ("text", "time"):
        return f"{count} {'texts' if column.kind == 'text' else 'times'}"
    if column.kind == "number":
        return None
    if column.is_binary:
        return "0 or 1"
    span = f"{count} whole numbers from {_shown(column.low)} to {_shown(column.high)}"
    if is_id(column.name):
        return f"{count} whole numbers, an id by its name"
    if _is_few(column):
        return span
    if column.distinct == 2:
        return span
    if column.low >= _LARGE and 100 < column.distinct < 0.9 * column.filled and not _round(column):
        return f"{span}, large ones that recur"
    return None


def _is_few(column: Profile) -> bool:
    """Whether a column has few whole numbers, each with many rows."""
    few = column.distinct <= _FEW and column.filled >= _ROWS_PER_VALUE * column.distinct
    return few and column.kind == "whole"


def _round(column: Profile) -> bool:
    """Whether most numbers end in 00, as amounts do."""
    return float((column.present % 100 == 0).mean()) > 0.5  # type: ignore[arg-type]


def _ids(column: Profile, total_rows: int) -> Feature:
    expected = expected_distinct(column, total_rows)
    if expected > MAX_VOCABULARY:
        why = f"some {_rounded(expected)} in the whole table, so hashed"
        return Feature({"ids": {"hash": _HASH_ROWS}}, why)
    if column.distinct > _MANY:
        return Feature({"ids": {"vocabulary": {"min_count": 2}}}, "")
    return Feature({}, "")


def expected_distinct(column: Profile, total_rows: int) -> int:
    """Estimate the distinct values of the whole table: growth goes on as between half and whole."""
    if column.rows >= total_rows or column.filled < 2 or column.distinct < _MANY:
        return column.distinct
    values = column.present.explode() if column.kind == "list" else column.present
    half = values.gather_every(2).n_unique()
    growth = min(max(math.log2(column.distinct / half), 0.0), 1.0) if half else 0.0
    return int(column.distinct * (total_rows / column.rows) ** growth)


def _rounded(count: int) -> str:
    digits = 10 ** max(len(str(count)) - 2, 0)
    return f"{count // digits * digits:,}"


def _number(column: Profile) -> Feature:
    low, high = column.low, column.high
    form = "whole numbers" if column.kind == "whole" else "numbers"
    why = f"{column.distinct:,} distinct {form} from {_shown(low)} to {_shown(high)}"
    fields: dict[str, Any] = {"type": "number"}
    if is_skewed(column):
        fields["transform"] = ["log1p", "standardise"]
        why += ", skewed"
    if column.missing:
        why += f"{_missing(column)}, replaced by the mean"
    return Feature(fields, why)


def _ranges(column: Profile, total_rows: int) -> Feature:
    count = next(ranges for rows, ranges in _RANGES if total_rows >= rows)
    why = ""
    if (top := _top_share(column)) > _TOP:
        count = min(round(count / max(1 - top, 1e-9)), _MAX_RANGES)
        why = f", as {percent(top)} of them are equal"
    if column.missing:
        why += ", and an id for missing"
    fields = {"type": "id", "column": column.name, "ids": {"quantiles": count}}
    return Feature(fields, f"{count} ranges of it{why}", suffix="_range")


def _values(column: Profile, total_rows: int) -> Feature:
    ids = {"ids": {"vocabulary": {"min_count": 2}}, **_ids(column, total_rows).fields}
    why = "rows with equal ones agree in most columns"
    return Feature({"type": "id", "column": column.name, **ids}, why, suffix="_value")


def _top_share(column: Profile) -> float:
    """Return the share of the most frequent number among those that are not missing."""
    counts = column.present.alias("").value_counts()["count"]
    return float(counts.max()) / column.filled  # type: ignore[arg-type]


def _shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.6g}"


def is_skewed(column: Profile) -> bool:
    """Whether the numbers are at least 0 and have a long tail, as counts and amounts do."""
    if column.low < 0 or column.high <= 20 or column.distinct < 10:
        return False
    skew = column.present.cast(pl.Float64).skew()
    return skew is not None and skew > _SKEWED


def _list(column: Profile, total_rows: int, weights: str | None) -> Feature:
    lengths = column.present.list.len()
    mean, longest = lengths.mean(), str(lengths.max())
    average = float(mean) if isinstance(mean, float) else 0.0
    why = (
        f"lists of {average:.1f} values on average, {longest} at most, {column.distinct:,} distinct"
    )
    fields: dict[str, Any] = {"type": "ids"}
    if weights is not None:
        fields = {"type": "weighted_ids", "weights": weights}
    ids = _ids(column, total_rows)
    fields |= ids.fields
    if column.separator:
        fields["separator"] = column.separator
    cut = lengths.quantile(0.99)
    if cut is not None and cut > _LONG:
        fields["keep"] = f"last {_LONG}"
        why += f", cut to {_LONG}"
    fields["pooling"] = "mean"
    if ids.why:
        why += f", {ids.why}"
    return Feature(fields, why + _missing(column))


def _missing(column: Profile) -> str:
    return f", {share(column.missing, column.rows)} missing" if column.missing else ""
