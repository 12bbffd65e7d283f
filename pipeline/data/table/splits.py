"""Assigns rows to splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.data.schema import SPLITS
from pipeline.data.sources.config import Position, SplitConfig
from pipeline.features.checks import Check
from pipeline.features.config import Value
from pipeline.features.distinct import Rows
from pipeline.features.raw import Types
from pipeline.features.values import hashed, is_missing, number, text, time
from pipeline.features.vocabulary import hash_integers
from pipeline.io.errors import UserError

TRAIN, VAL, TEST = range(len(SPLITS))


class Splitter:
    """Maps rows to 0 (train), 1 (val) or 2 (test), each row by itself."""

    def __init__(self, config: SplitConfig, types: Types) -> None:
        """Raises UserError if a time of the configuration is none."""
        self._config = config
        self._types = types
        self.columns = [] if config.column is None else [config.column]
        self.checks: list[Check] = []
        if config.by == "time":
            assert config.column is not None
            value = self._position(config.column)
            remedy = "write a time in every row, or choose another data.split"
            self.checks.append(Check(config.column, value.is_null(), "no time", remedy))
        self._limits = [self._limit(one) for one in (config.val_from, config.test_from)]
        val, test = self._limits
        if val is not None and test is not None and not pl.select(val <= test).item():
            raise UserError(
                f"data.split.test_from: {config.test_from!r} is before val_from "
                f"{config.val_from!r}; write the later time"
            )

    def assign(self, rows: Rows, first_row: int) -> NDArray[np.uint8]:
        """Return the split of each row, [rows]; `first_row`: its number in the whole table."""
        config = self._config
        if config.by == "random":
            return self._random(rows, first_row)
        assert config.column is not None
        if config.by == "time":
            found = rows.select([self._position(config.column).alias("position")])
            rows, value = Rows(pl.DataFrame([found["position"].series])), pl.col("position")
            val, test = (None if limit is None else value >= limit for limit in self._limits)
        else:
            val, test = (self._is_one_of(config.column, one) for one in (config.val, config.test))
        split = pl.lit(TRAIN, dtype=pl.UInt8)
        for index, mask in ((VAL, val), (TEST, test)):
            if mask is not None:
                split = (
                    pl.when(mask.fill_null(False)).then(pl.lit(index, pl.UInt8)).otherwise(split)
                )
        result: NDArray[np.uint8] = rows.select([split.alias("split")])["split"].series.to_numpy()
        return result

    def _random(self, rows: Rows, first_row: int) -> NDArray[np.uint8]:
        config = self._config
        if config.column is None:
            keys = np.arange(first_row, first_row + len(rows), dtype=np.int64)
        else:
            words = text(pl.col(config.column), self._types[config.column])
            found = rows.select([hashed(words).fill_null(-1).alias("key")])
            keys = found["key"].series.to_numpy()
        draws = hash_integers(keys ^ hash_integers(np.array([config.seed]))) / 2.0**62
        assert isinstance(config.val, float)
        assert isinstance(config.test, float)
        split = np.full(len(rows), TRAIN, dtype=np.uint8)
        split[draws < config.test + config.val] = VAL
        split[draws < config.test] = TEST
        return split

    def _position(self, column: str) -> pl.Expr:
        """Return a number if the configuration's times are numbers, else a time."""
        dtype = self._types[column]
        if isinstance(self._config.val_from, str):
            return time(pl.col(column), dtype)
        return number(pl.col(column), dtype)

    def _limit(self, position: Position | None) -> pl.Expr | None:
        if position is None:
            return None
        if not isinstance(position, str):
            return pl.lit(float(position))
        found = pl.select(time(pl.lit(position), pl.String())).item()
        if found is None:
            raise UserError(
                f"data.split: {position!r} is no time; write one such as 2026-05-01 or "
                "'2026-05-01 12:00'"
            )
        return pl.lit(found, dtype=pl.Datetime("us"))

    def _is_one_of(self, column: str, values: float | Sequence[Value]) -> pl.Expr | None:
        if isinstance(values, float):
            return None
        dtype = self._types[column]
        words = text(pl.col(column), dtype)
        tests = [words == _plain(value) for value in values]
        return pl.any_horizontal(tests) & ~is_missing(pl.col(column), dtype) if tests else None


def _plain(value: Value) -> str:
    """Return a value of YAML as the text of a column's values."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
