"""Raw columns to the columns of a prepared folder, as the training data was encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from pipeline.data.column_values import Locate
from pipeline.features.checks import bad_rows, describe
from pipeline.features.config import FeatureConfig
from pipeline.features.fitted import Fitted
from pipeline.features.program import FeatureProgram
from pipeline.io.errors import UserError
from pipeline.scoring.columns import row_text


class Encoder:
    """The feature program with its fitted values, for frames with any types that fit."""

    def __init__(self, features: Mapping[str, FeatureConfig], fitted: Fitted) -> None:
        self.features = dict(features)
        self._fitted = fitted
        self._programs: dict[tuple[object, ...], FeatureProgram] = {}

    @property
    def columns(self) -> dict[str, str]:
        """Raw columns that are needed -> the first feature that needs each."""
        found: dict[str, str] = {}
        for name, feature in self.features.items():
            for column in feature.columns(name):
                found.setdefault(column, name)
        return found

    def encode(
        self,
        frame: pl.DataFrame,
        names: Sequence[str] | None = None,
        locate: Locate = row_text,
    ) -> pa.Table:
        """Encode the features `names` (None: all).

        Raises UserError for a missing column, or naming row and column, for an invalid value.
        """
        program = self._program(frame, tuple(self.features) if names is None else tuple(names))
        _, failed = bad_rows(frame, program.checks)
        for bad in describe(frame, program.checks, failed, 1):
            raise UserError(
                f"{locate(bad.row)}, column {bad.column!r}: {bad.value} is {bad.what}; {bad.remedy}"
            )
        return program.encode(frame, self._fitted).to_arrow()

    def _program(self, frame: pl.DataFrame, names: tuple[str, ...]) -> FeatureProgram:
        features = {name: self.features[name] for name in names}
        for name, feature in features.items():
            for column in feature.columns(name):
                if column not in frame.columns:
                    raise UserError(f"no column {column!r}, which feature {name!r} needs; add it")
        types = {c: frame.schema[c] for n, f in features.items() for c in f.columns(n)}
        key = (names, tuple(types.items()))
        if key not in self._programs:
            try:
                self._programs[key] = FeatureProgram(features, {}, pl.Schema(types))
            except ValueError as error:
                raise UserError(f"features: {error}") from error
        return self._programs[key]
