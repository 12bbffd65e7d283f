"""What schema.json says of a split: its files and counts."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.io.typed_json import Count


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_none(value: object) -> bool:
    """Whether to leave a field out of schema.json, so that readers from before it accept it."""
    return value is None


Sum = Annotated[float, Field(ge=0)]


class WeightSums(Frozen):
    """Sums of row weights of a split."""

    rows: Sum
    """Of all rows."""
    positives: dict[str, Sum] = Field(default_factory=dict)
    """Of the rows with label 1, by label name."""
    missing: dict[str, Sum] = Field(default_factory=dict)
    """Of the rows without a label, by label name; 0 for labels not listed."""


class Split(Frozen):
    """`files` are relative to the prepared folder, in time order."""

    rows: Count = 0
    files: tuple[str, ...] = ()
    positives: dict[str, Count] = Field(default_factory=dict)
    """Number of rows with label 1, by label name."""
    missing: dict[str, Count] = Field(default_factory=dict)
    """Number of rows without a label, by label name; 0 for labels not listed."""
    weights: WeightSums | None = Field(default=None, exclude_if=is_none)
    """Only if the schema has a weight column."""

    @field_validator("files")
    @classmethod
    def _inside(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
                raise ValueError(
                    f"{name!r} is no file in the prepared folder; write its path there"
                )
            if files.count(name) > 1:
                raise ValueError(f"{name!r} is there twice; list each file once")
        return files

    @model_validator(mode="after")
    def _counts_fit(self) -> Split:
        for name in {*self.positives, *self.missing}:
            counted = self.positives.get(name, 0) + self.missing.get(name, 0)
            if counted > self.rows:
                raise ValueError(
                    f"label {name!r} is positive or missing in {counted} rows, of {self.rows}"
                )
        return self
