"""Configuration of features and labels: what the columns of a table mean. Does not import torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from embeddings.config import Pooling
from embeddings.frozen import Frozen
from embeddings.names import check_name

Name = Annotated[str, AfterValidator(check_name)]
Rows = Annotated[int, Field(ge=1, le=2**40)]
Value = bool | int | float | str
"""A value as written in YAML."""


class VocabularyConfig(Frozen):
    """A row of the table for each frequent value of the training split."""

    min_count: int = Field(default=2, ge=1)
    """Minimum number of training rows with a value; rarer values are unknown."""
    max_size: int = Field(default=0, ge=0, le=2**40)
    """Maximum number of values, the most frequent ones; 0: no limit."""


class IdsConfig(Frozen):
    """How values become rows of an embedding table: exactly one of vocabulary, hash, quantiles."""

    vocabulary: VocabularyConfig | None = None
    """A row for each frequent value of the training split."""
    hash: Rows | None = None
    """Number of rows that values are hashed into."""
    quantiles: int | None = Field(default=None, ge=2, le=1000)
    """Number of ranges with equally many training rows, for numbers."""
    unknown_rows: int | None = Field(default=None, ge=0, le=2**40)
    """Rows of the table shared by unknown values, only with `vocabulary`; unset:
    embeddings.hash_rows."""

    @model_validator(mode="after")
    def _one(self) -> IdsConfig:
        given = [name for name in ("vocabulary", "hash", "quantiles") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        if self.unknown_rows is not None and given not in ([], ["vocabulary"]):
            raise ValueError(f"unknown_rows has no meaning with {given[0]}; remove it")
        return self

    @property
    def vocabulary_or_default(self) -> VocabularyConfig | None:
        """The vocabulary, which is the default; None with hash or quantiles."""
        if self.hash or self.quantiles:
            return None
        return self.vocabulary or VocabularyConfig()


class ClipConfig(Frozen):
    """Limits of a number."""

    clip: tuple[float, float]
    """Smallest and largest value; others become the nearest of these."""

    @field_validator("clip")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("write the smaller limit first")
        return value


Transform = Literal["log1p", "standardise"] | ClipConfig
Type = Literal["id", "ids", "weighted_ids", "number"]
Part = Literal["hour", "weekday", "day", "month"]
_KEEP = re.compile(r"(first|last) ([1-9][0-9]{0,8})")
_ONLY: Mapping[str, tuple[str, ...]] = {
    "ids": ("id", "ids", "weighted_ids"),
    "table": ("id", "ids", "weighted_ids"),
    "cross": ("id",),
    "part": ("id",),
    "separator": ("ids", "weighted_ids"),
    "keep": ("ids", "weighted_ids"),
    "pooling": ("ids", "weighted_ids"),
    "weights": ("weighted_ids",),
    "missing": ("number",),
    "transform": ("number",),
}
"""The types that a field is for."""


class FeatureConfig(Frozen):
    """A feature: one column, or several crossed ones."""

    type: Type
    """id: one value per row; ids: a list of values; weighted_ids: values with a weight each;
    number."""
    group: Literal["user", "item", "context"] = "context"
    """What the feature describes."""
    column: str | None = None
    """Column of the table; unset: the feature's name."""
    cross: tuple[str, ...] = ()
    """Columns whose values together are the id."""
    part: Part | None = None
    """Part of a time that is the id."""
    ids: IdsConfig = IdsConfig()
    """How values become rows of the embedding table; unset: a vocabulary."""
    table: Name | None = None
    """Embedding table, which features with the same values may share; unset: the feature's own."""
    separator: str | None = Field(default=None, min_length=1, max_length=8)
    """Text between the values, if the column is text and not a list."""
    weights: str | None = None
    """Column with the list of weights."""
    keep: str | None = None
    """'last N' or 'first N' values of a list; unset: all."""
    pooling: Pooling = "mean"
    """How the embeddings of a list are combined."""
    missing: Literal["mean", "zero"] | float = "mean"
    """Number to use if there is none: the training mean, zero, or the given one."""
    transform: tuple[Transform, ...] = ("standardise",)
    """Steps in order: log1p, clip: [LOW, HIGH], standardise (last)."""

    @field_validator("keep")
    @classmethod
    def _kept(cls, value: str | None) -> str | None:
        if value is not None and not _KEEP.fullmatch(value):
            raise ValueError("write 'last N' or 'first N', such as 'last 20'")
        return value

    @field_validator("transform")
    @classmethod
    def _standardised_last(cls, value: tuple[Transform, ...]) -> tuple[Transform, ...]:
        if "standardise" in value[:-1]:
            raise ValueError("standardise must be the last step; move or remove it")
        return value

    @model_validator(mode="after")
    def _fields_fit(self) -> FeatureConfig:
        for field, types in _ONLY.items():
            if field in self.model_fields_set and self.type not in types:
                given = getattr(self, field)
                if given == type(self).model_fields[field].default:
                    continue  # as a saved configuration has it
                raise ValueError(
                    f"{field} is for type {' or '.join(types)}, not {self.type}; remove it"
                )
        if self.cross and self.column is not None:
            raise ValueError("cross and column exclude each other; keep one")
        if len(self.cross) == 1:
            raise ValueError("cross has one column; give two or more, or use column")
        if self.type == "weighted_ids" and not self.weights:
            raise ValueError("weighted_ids needs weights, the column of the weights")
        if self.ids.quantiles and (self.cross or self.part or self.type != "id"):
            raise ValueError("quantiles is for type id with one column of numbers")
        if self.part and self.cross:
            raise ValueError("part and cross exclude each other; keep one")
        return self

    @property
    def limit(self) -> int | None:
        """Number of values to keep: the last ones if positive, the first ones if negative."""
        if self.keep is None:
            return None
        end, count = self.keep.split()
        return int(count) if end == "last" else -int(count)

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns that feature `name` reads, its weights last."""
        return (*(self.cross or (self.column or name,)), *filter(None, (self.weights,)))


class LabelConfig(Frozen):
    """A task's target: a column of 0 and 1, or a rule that makes one."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    column: str | None = None
    """Column of the table; unset: the task's name."""
    category: Name = "all"
    """Category of the task, for towers with experts per category."""
    at_least: float | None = None
    """The label is 1 if the value is at least this number."""
    equals: Value | None = None
    """The label is 1 if the value is this one."""
    in_: tuple[Value, ...] | None = Field(default=None, alias="in")
    """The label is 1 if the value is one of these."""
    limits: tuple[float, ...] | None = None
    """A task NAME_LIMIT for each of these limits, ascending and above 0, whose label is 1 if the
    value is at least the limit. 'predict' gives the expected value, too."""
    default: bool = True
    """Whether the task is trained unless data.tasks says otherwise."""

    @model_validator(mode="after")
    def _one_rule(self) -> LabelConfig:
        rules = ("at_least", "equals", "in_", "limits")
        given = [name.rstrip("_") for name in rules if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        if self.in_ == ():
            raise ValueError("in is empty; list the values that make the label 1")
        if self.limits is not None:
            ends = (0.0, *self.limits)
            if len(ends) == 1 or any(not a < b for a, b in itertools.pairwise(ends)):
                raise ValueError(
                    f"limits {list(self.limits)} are not ascending numbers above 0; list some"
                )
        return self


def check_shared_tables(features: Mapping[str, FeatureConfig]) -> None:
    """Check that features of one table make ids in the same way. Raises ValueError."""
    first: dict[str, tuple[str, FeatureConfig]] = {}
    for name, feature in features.items():
        if feature.type == "number":
            continue
        table = feature.table or name
        other, config = first.setdefault(table, (name, feature))
        if config.ids != feature.ids or (other != name and feature.ids.quantiles):
            raise ValueError(
                f"{other} and {name} share table {table!r} but differ in ids; give both the same "
                "vocabulary or hash, or a table each"
            )
