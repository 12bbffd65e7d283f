"""The feature program: raw columns in, columns of ids, numbers and labels out.

    program = FeatureProgram(features, labels, types, user="user_id")
    program.raw(frame)                  # text, numbers and labels: what is fitted
    program.encode(frame, fitted)       # columns of a prepared folder; see pipeline/data/schema.py

Both are functions of each row alone, in Polars expressions, so results do not depend on how rows
are cut into files or batches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.checks import Check
from pipeline.features.config import FeatureConfig, LabelConfig, check_shared_tables
from pipeline.features.distinct import Coded, Rows
from pipeline.features.fitted import Fitted
from pipeline.features.quantiles import find_ranges
from pipeline.features.raw import (
    Types,
    feature_checks,
    ids,
    inner,
    label,
    label_check,
    plain_number,
    transformed,
    user,
    weight_check,
    weight_list,
)
from pipeline.features.values import hashed

USER, WEIGHT = "row.user", "row.weight"
"""Columns for users and row weights; no feature has a dot in its name."""


def label_column(task: str) -> str:
    """Return the column of a label."""
    return f"label.{task}"


def weights_column(feature: str) -> str:
    """Return the column of the weights of weighted ids."""
    return f"weights.{feature}"


class FeatureProgram:
    """Features and labels of a table with columns of known types."""

    def __init__(
        self,
        features: Mapping[str, FeatureConfig],
        labels: Mapping[str, LabelConfig],
        types: Types,
        *,
        user: str | None = None,
        weight: str | None = None,
    ) -> None:
        """
        Args:
            types: types of the table's columns.
            user: column of users.
            weight: column of row weights.

        Raises:
            ValueError: a feature does not fit the type of its column; starts with its name.
        """
        check_shared_tables(features)
        self.features = dict(features)
        self.labels = dict(labels)
        self._types = types
        self._user = user
        self._weight = weight
        for name, feature in features.items():
            self._check_type(name, feature)
        self.checks = self._checks()

    def _check_type(self, name: str, feature: FeatureConfig) -> None:
        if feature.type in ("ids", "weighted_ids"):
            return
        for column in feature.columns(name):
            if inner(self._types[column]) is not None:
                raise ValueError(
                    f"{name}: column {column!r} is a list, which type {feature.type} cannot take; "
                    "write type: ids"
                )

    def _checks(self) -> list[Check]:
        checks = [
            check
            for name, feature in self.features.items()
            for check in feature_checks(name, feature, self._types)
        ]
        found = (label_check(name, one, self._types) for name, one in self.labels.items())
        checks += [check for check in found if check is not None]
        if self._weight is not None:
            checks.append(weight_check(self._weight, self._types))
        return checks

    def raw(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `raw_columns`, row by row."""
        return pl.DataFrame([one.series for one in self.raw_columns(Rows(frame)).values()])

    def raw_columns(self, rows: Rows, names: Collection[str] | None = None) -> dict[str, Coded]:
        """Return ids (or lists of ids), numbers, labels, users and weights.

        `names`: columns to return; None for all.
        """
        columns = self._raw_columns()
        if names is not None:
            columns = [one for one in columns if one.meta.output_name() in names]
        return rows.select(columns)

    def _raw_columns(self) -> list[pl.Expr]:
        types = self._types
        columns = []
        for name, feature in self.features.items():
            if feature.type == "number":
                columns.append(transformed(name, feature, types).alias(name))
            elif feature.ids.quantiles:
                columns.append(plain_number(feature.columns(name)[0], types).alias(name))
            else:
                columns.append(ids(name, feature, types).alias(name))
            if feature.type == "weighted_ids":
                columns.append(weight_list(feature, types).alias(weights_column(name)))
        columns += [
            label(name, config, types).alias(label_column(name))
            for name, config in self.labels.items()
        ]
        if self._user is not None:
            columns.append(user(self._user, types).alias(USER))
        if self._weight is not None:
            columns.append(plain_number(self._weight, types).alias(WEIGHT))
        return columns

    def encode(self, rows: pl.DataFrame | Rows, fitted: Fitted) -> pl.DataFrame:
        """Return the columns of a prepared folder for each of `rows`."""
        rows = rows if isinstance(rows, Rows) else Rows(rows)
        columns = self.index(self.raw_columns(rows), fitted)
        return pl.DataFrame([one.series for one in columns.values()])

    def index(self, raw: Mapping[str, Coded], fitted: Fitted) -> dict[str, Coded]:
        """Return the same for the result of `raw_columns`."""
        columns = {}
        for name, feature in self.features.items():
            if feature.type == "number":
                columns[name] = raw[name].select(_filled(pl.col(name), name, feature, fitted))
            elif feature.ids.quantiles:
                columns[name] = raw[name].map(partial(_ranges, fitted.edges[name]))
            else:
                find = partial(_index, name, feature, fitted)
                columns[name] = raw[name].map(
                    find if feature.type == "id" else partial(_lists, find)
                )
        return columns | {name: one for name, one in raw.items() if name not in self.features}


def _lists(find: Callable[[pl.Series], pl.Series], lists: pl.Series) -> pl.Series:
    """Apply `find` to the values of lists."""
    values = pl.element().map_batches(find, return_dtype=pl.Int64, is_elementwise=True)
    return lists.list.eval(values)


def _index(name: str, feature: FeatureConfig, fitted: Fitted, ids: pl.Series) -> pl.Series:
    """Return rows of a table for ids: 0 if missing, as described in pipeline/data/schema.py."""
    if feature.ids.hash:
        return (_hashes(ids) % feature.ids.hash + 1).fill_null(0)
    vocabulary = fitted.vocabularies[feature.table or name]
    index = vocabulary.find(ids)
    unknown = np.flatnonzero((index == 0) & ids.is_not_null().to_numpy())
    if len(unknown):
        index[unknown] = _hashes(ids.gather(unknown)).to_numpy() + vocabulary.vocab_size
    return pl.Series(index)


def _hashes(ids: pl.Series) -> pl.Series:
    return ids.alias("id").to_frame().select(hashed(pl.col("id").cast(pl.String))).to_series()


def _ranges(edges: NDArray[np.float32], values: pl.Series) -> pl.Series:
    """Return the number of the range from 1; 0 if missing."""
    numbers = values.fill_null(float("nan")).to_numpy()
    return pl.Series(np.where(np.isnan(numbers), 0, find_ranges(edges, numbers) + 1))


def _filled(values: pl.Expr, name: str, feature: FeatureConfig, fitted: Fitted) -> pl.Expr:
    """Fill in the mean where the reader, which fills in 0 after standardising, would not."""
    if "standardise" in feature.transform or feature.missing != "mean":
        return values
    return values.fill_null(pl.lit(fitted.standards[name].mean, dtype=pl.Float32))
