"""The first stage of a feature program: raw columns to text, numbers and labels, and their checks.

Needs nothing fitted. Each function returns expressions over the raw columns of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from polars._typing import PolarsDataType

from pipeline.features.checks import Check
from pipeline.features.config import ClipConfig, FeatureConfig, LabelConfig, Value
from pipeline.features.values import hashed, is_missing, number, text, time

Types = Mapping[str, PolarsDataType]
"""Types of the raw columns."""

LARGEST = 3.4028234663852886e38
_TEXT = (pl.String, pl.Categorical, pl.Enum)
_BETWEEN = "\x1f"
"""Between the parts of a crossed id: a character that text does not have."""


def inner(dtype: PolarsDataType) -> PolarsDataType | None:
    """Return the type of a list's values; None for other types."""
    found: PolarsDataType | None = getattr(dtype, "inner", None)
    return found if dtype.base_type() in (pl.List, pl.Array) else None


def ids(name: str, feature: FeatureConfig, types: Types) -> pl.Expr:
    """Return an id, or a list of ids: Int64 if the column has such, otherwise text.

    An id is null if it is missing. The number stands for its text.
    """
    columns = feature.cross or (feature.column or name,)
    if feature.part:
        moment = time(pl.col(columns[0]), types[columns[0]])
        part: pl.Expr = getattr(moment.dt, feature.part)()
        return part.cast(pl.Int64)
    if feature.type == "id" and len(columns) == 1:
        return _id(pl.col(columns[0]), types[columns[0]])
    if feature.type == "id":
        parts = [text(pl.col(column), types[column]) for column in columns]
        crossed = pl.concat_str([part.fill_null("") for part in parts], separator=_BETWEEN)
        return pl.when(~pl.all_horizontal(part.is_null() for part in parts)).then(crossed)
    values = _elements(columns[0], types[columns[0]], feature.separator)
    dtype = inner(types[columns[0]]) or pl.String()
    found = values.list.eval(_id(pl.element(), dtype))
    if feature.type == "ids":
        found = found.list.drop_nulls()
    return _kept(found, feature.limit)


def _id(column: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128, pl.UInt128):
        return column.cast(pl.Int64)
    return text(column, dtype)


def weight_list(feature: FeatureConfig, types: Types) -> pl.Expr:
    """Return the weights of weighted ids, a list of Float32."""
    column = feature.weights
    assert column is not None
    values = _elements(column, types[column], feature.separator)
    dtype = inner(types[column]) or _scalar(types[column])
    weights = values.list.eval(number(pl.element(), dtype).cast(pl.Float32))
    return _kept(weights, feature.limit)


def _scalar(dtype: PolarsDataType) -> PolarsDataType:
    return pl.String() if dtype.base_type() in _TEXT else dtype


def _elements(column: str, dtype: PolarsDataType, separator: str | None) -> pl.Expr:
    """Return a column as lists; null becomes an empty list."""
    values = pl.col(column)
    if dtype.base_type() == pl.Array:
        values = values.arr.to_list()
    elif dtype.base_type() in _TEXT and separator is not None:
        values = values.cast(pl.String).str.split(separator)
    elif inner(dtype) is None:
        values = pl.when(~is_missing(values, dtype)).then(pl.concat_list(values))
    return values.fill_null([])


def _kept(values: pl.Expr, limit: int | None) -> pl.Expr:
    if limit is None:
        return values
    return values.list.tail(limit) if limit > 0 else values.list.head(-limit)


def transformed(name: str, feature: FeatureConfig, types: Types) -> pl.Expr:
    """Return a number after its transforms, Float32, before standardising; null if missing."""
    column = feature.column or name
    value = number(pl.col(column), types[column])
    if feature.missing != "mean":
        value = value.fill_null(0.0 if feature.missing == "zero" else float(feature.missing))
    for step in feature.transform:
        if step == "log1p":
            value = value.log1p()
        elif isinstance(step, ClipConfig):
            value = value.clip(*step.clip)
    return value.cast(pl.Float32)


def plain_number(column: str, types: Types) -> pl.Expr:
    """Return a number as Float32; null if missing."""
    return number(pl.col(column), types[column]).cast(pl.Float32)


def label(name: str, config: LabelConfig, types: Types) -> pl.Expr:
    """Return a label, Float32: 0 or 1; null if the value is missing."""
    column = config.column or name
    dtype = types[column]
    raw = pl.col(column)
    if config.at_least is not None:
        is_one = number(raw, dtype) >= config.at_least
    elif (values := _rule_values(config)) is not None:
        is_one = pl.any_horizontal(_equals(raw, dtype, value) for value in values)
    else:
        return number(raw, dtype).cast(pl.Float32)
    return pl.when(~is_missing(raw, dtype)).then(is_one.cast(pl.Float32))


def _rule_values(config: LabelConfig) -> Sequence[Value] | None:
    return config.in_ if config.equals is None else [config.equals]


def _equals(raw: pl.Expr, dtype: PolarsDataType, value: Value) -> pl.Expr:
    if isinstance(value, str):
        return (text(raw, dtype) == value.strip()).fill_null(False)
    return (number(raw, dtype) == float(value)).fill_null(False)


def user(column: str, types: Types) -> pl.Expr:
    """Return users as Int64; null if missing."""
    return hashed(text(pl.col(column), types[column]))


def feature_checks(name: str, feature: FeatureConfig, types: Types) -> list[Check]:
    """Return the checks of a feature's columns."""
    column = feature.columns(name)[0]
    known = ~is_missing(pl.col(column), types[column])
    if feature.part:
        bad = known & time(pl.col(column), types[column]).is_null()
        return [Check(column, bad, "no time", "write ISO 8601, or seconds since 1970")]
    if feature.type == "number" or feature.ids.quantiles:
        value = number(pl.col(column), types[column])
        checks = [_number_check(column, known, value)]
        if "log1p" in feature.transform and feature.type == "number":
            bad = transformed(name, feature, types).is_finite().not_() & (value.abs() <= LARGEST)
            checks.append(
                Check(column, bad, f"too small for log1p of feature {name!r}", "use clip first")
            )
        return checks
    if feature.type != "weighted_ids":
        return []
    weights = feature.weights
    assert weights is not None
    lengths = _elements(column, types[column], feature.separator).list.len()
    found = _elements(weights, types[weights], feature.separator)
    dtype = inner(types[weights]) or _scalar(types[weights])
    values = found.list.eval(number(pl.element(), dtype).cast(pl.Float32))
    finite = values.list.eval(pl.element().is_finite().fill_null(False)).list.all()
    return [
        Check(
            weights,
            lengths != found.list.len(),
            f"not as many weights as {column!r} has values",
            "give each value a weight",
        ),
        Check(weights, ~finite, "not a list of finite weights", "give each value a weight"),
    ]


def _number_check(column: str, known: pl.Expr, value: pl.Expr) -> Check:
    bad = known & ~(value.abs() <= LARGEST).fill_null(False)
    return Check(
        column, bad, "not a finite number of float32", "leave it empty (null) if it is missing"
    )


def label_check(name: str, config: LabelConfig, types: Types) -> Check | None:
    """Return the check of a label's column; None if every value has a meaning."""
    column = config.column or name
    known = ~is_missing(pl.col(column), types[column])
    value = number(pl.col(column), types[column])
    if config.at_least is not None:
        return _number_check(column, known, value)
    if _rule_values(config) is not None:
        return None
    bad = known & ~value.is_in([0.0, 1.0]).fill_null(False)
    return Check(
        column,
        bad,
        f"not a label (0 or 1) of task {name!r}",
        "leave it empty (null) if it is missing, or give the label a rule such as at_least",
    )


def weight_check(column: str, types: Types) -> Check:
    """Return the check of the row weights."""
    value = number(pl.col(column), types[column])
    bad = ~((value >= 0) & (value <= LARGEST)).fill_null(False)
    return Check(
        column, bad, "not a row weight, a number >= 0", "correct it, or remove data.weight"
    )
