"""Configuration of a table: its files, side tables and splits. Does not import pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from embeddings.frozen import Frozen
from pipeline.features.config import Value

Format = Literal["auto", "parquet", "csv", "arrow", "jsonl", "delta"]
Position = int | float | str
"""A number, or a date or time as text ('2026-05-01', '2026-05-01 12:00')."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class FilesConfig(Frozen):
    """Files that are one table together."""

    path: tuple[str, ...]
    """Files, folders or patterns ('logs/*.parquet'), on local disks or at s3://, gs:// or hdfs://.
    Their order is that of the rows; a folder or pattern stands for its files, sorted by name."""
    format: Format = "auto"
    """Format of the files; auto: by their names, else by their first bytes."""
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """Separator of CSV columns; unset: found in the first lines."""
    header: bool | None = None
    """Whether the first line of CSV files has the names of the columns; unset: found out."""
    names: tuple[str, ...] = ()
    """Names of CSV columns without header; unset: column_1, column_2, ..."""
    null_values: tuple[str, ...] = ("", "NA", "NaN", "nan", "NULL", "null", "None", "\\N")
    """Text that means a missing value in CSV files."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("path")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(value):
            raise ValueError("write the path of a file, a folder or a pattern")
        return value


class JoinConfig(FilesConfig):
    """A side table: columns added to each row by key. It has to fit into memory."""

    on: tuple[str, ...] | Mapping[str, str] = ()
    """Key columns: names, or {column of the log: column of the side table}."""

    @field_validator("on", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("on")
    @classmethod
    def _a_key(
        cls, value: tuple[str, ...] | Mapping[str, str]
    ) -> tuple[str, ...] | Mapping[str, str]:
        if not value:
            raise ValueError("write the column that both tables have, such as user_id")
        return value

    @property
    def keys(self) -> dict[str, str]:
        """Column of the log -> column of the side table."""
        return dict(self.on) if isinstance(self.on, Mapping) else {name: name for name in self.on}


class SplitConfig(Frozen):
    """How rows are split into train, val and test."""

    by: Literal["random", "time", "column"] = "random"
    """random: by a hash of the row's number; time: by a column of times or numbers; column: by a
    column's values."""
    column: str | None = None
    """Column of times, or of values; for random: rows with the same value stay together."""
    val: float | tuple[Value, ...] = 0.1
    """random: share of rows; column: values of the validation rows."""
    test: float | tuple[Value, ...] = 0.1
    """The same for the test rows."""
    val_from: Position | None = None
    """time: first time of the validation rows."""
    test_from: Position | None = None
    """time: first time of the test rows; unset: no test rows."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """random: seed."""

    @model_validator(mode="after")
    def _fits(self) -> SplitConfig:
        if self.by != "random" and self.column is None:
            raise ValueError(f"by {self.by} needs column")
        if self.by == "time" and self.val_from is None:
            raise ValueError("by time needs val_from, the first time of the validation rows")
        shares = [share for share in (self.val, self.test) if isinstance(share, float)]
        if self.by == "random" and (len(shares) < 2 or min(shares) < 0 or sum(shares) >= 1):
            raise ValueError("val and test are shares of the rows, such as .1; together below 1")
        if self.by == "column" and len(shares) == 2:
            raise ValueError("by column needs val, the list of values of the validation rows")
        return self
