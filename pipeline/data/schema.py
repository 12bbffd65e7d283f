"""The schema of a prepared folder, `schema.json`: the contract between prepare and training.

    DIR/schema.json
    DIR/vocab/TABLE.parquet          columns: id (the raw value as string), index (int64, from 1)
    DIR/{train,val,test}/part-*.parquet   several row groups each; the schema lists the files

Columns of a shard, one row per impression:
- a sparse feature: int64 (single-valued) or list<int64> (multi-valued) of vocabulary indices:
  0 is 'missing', 1 .. vocab_size-1 a known id, and an id outside the vocabulary is
  `vocab_size + h` with h a non-negative 62-bit hash of the raw value (the embedding layer folds
  it into its hash rows). A negative index is an error.
- weights of a multi-valued feature (optional): list<float32>, finite, as many as values.
- a dense feature: float32, raw (the reader normalizes with the schema's mean and std); null = mean.
- a label: float32, 0 or 1; null = missing, masked out of loss and metrics.
- an oracle (optional): float32, the true probability of the label.
- `user_column` (optional): int64, groups rows for GAUC; null (or index 0 of a sparse feature) =
  no user.
- `weight_column` (optional): float32, not negative, never null: weighs the row in loss and metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from embeddings.names import check_name
from embeddings.strict_json import DuplicateKey, check_keys
from pipeline.data.split_counts import Frozen, Split, is_none
from pipeline.io.errors import UserError
from pipeline.io.files import has_file, read_text, write_text
from pipeline.io.storage import AnyPath

SPLIT = Literal["train", "val", "test"]
SPLITS: tuple[SPLIT, ...] = ("train", "val", "test")
AGAIN = "prepare the folder again"
_LARGEST = 3e38
"""Numbers are float32."""

Name = Annotated[str, AfterValidator(check_name)]
_NO_LABELS = ("loss", "mean", "total")  # logs have loss/total, and mean/auc selects checkpoints


class SparseFeature(Frozen):
    """An id feature. Features with the same table share its rows (such as a history bag)."""

    name: Name
    group: Literal["user", "item", "context"]
    table: Name
    multi: bool = False
    pooling: Literal["sum", "mean"] | None = Field(default=None, exclude_if=is_none)
    """Pooling of a multi-valued feature that `embeddings.poolings` does not name; None:
    `embeddings.pooling`."""
    weights: str | None = Field(default=None, exclude_if=is_none)
    """Column with the list of the values' weights, of a multi-valued feature: pooling sums
    w_i e_i, and divides by the number of values for mean."""

    @property
    def column(self) -> str:
        return self.name

    @model_validator(mode="after")
    def _only_bags_are_pooled(self) -> SparseFeature:
        if self.pooling and not self.multi:
            raise ValueError(f"feature {self.name!r} has a pooling, but is not multi; remove it")
        if self.weights is not None and not self.multi:
            raise ValueError(f"feature {self.name!r} has weights, but is not multi; remove them")
        return self


class Table(Frozen):
    """A vocabulary: indices 0 (missing) to vocab_size - 1."""

    name: Name
    vocab_size: int = Field(ge=1, le=2**40)
    fingerprint: str = ""
    """Digest of the vocabulary's ids in order; equal if indices have the same meaning."""
    unknown_rows: int | None = Field(default=None, ge=0, le=2**40, exclude_if=is_none)
    """Rows after the vocabulary for ids outside it; None: `embeddings.hash_rows`."""


class DenseFeature(Frozen):
    """A number, normalized by mean and standard deviation of the training split."""

    name: Name
    mean: float = Field(ge=-_LARGEST, le=_LARGEST)
    std: float = Field(gt=1e-37, le=_LARGEST)

    @property
    def column(self) -> str:
        return self.name


class Label(Frozen):
    """A task's target. `default` false: rare, trained only if requested by name."""

    name: Name
    column: str
    category: Name
    oracle: str | None = None
    default: bool = True


class Schema(Frozen):
    """Schema of a prepared folder."""

    version: Literal[1] = 1
    dataset: str
    made_by: str
    program: str | None = Field(default=None, exclude_if=is_none)
    """Digest of what a table's columns mean and of all that was fitted to them; equal if features
    have the same meaning. None: not made from a table."""
    user_column: str | None = None
    """None: rows have no users, and there is no GAUC."""
    weight_column: str | None = Field(default=None, exclude_if=is_none)
    """None: all rows have weight 1."""
    sparse: tuple[SparseFeature, ...]
    tables: tuple[Table, ...]
    dense: tuple[DenseFeature, ...]
    labels: tuple[Label, ...]
    splits: dict[SPLIT, Split]

    @field_validator("splits")
    @classmethod
    def _every_split(cls, splits: dict[SPLIT, Split]) -> dict[SPLIT, Split]:
        """Add empty splits for missing ones."""
        return {name: splits.get(name, Split()) for name in SPLITS}

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        """Check that names are unique and references valid."""
        labels = [label.name for label in self.labels]
        for what, names in (
            ("feature", self.feature_names),
            ("table", [table.name for table in self.tables]),
            ("label", labels),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} {name!r} is listed twice; names must differ")
        for name in _NO_LABELS:
            if name in labels:
                raise ValueError(f"a label cannot be called {name!r}, which logs have; rename it")
        self._check_roles()
        known = {table.name for table in self.tables}
        for feature in self.sparse:
            if feature.table not in known:
                raise ValueError(
                    f"feature {feature.name!r} has table {feature.table!r}, which is not in tables"
                )
        for name in labels:
            if name not in self.splits["train"].positives:
                raise ValueError(f"splits.train.positives has no count for label {name!r}")
            if self.weight_column is not None:
                sums = self.splits["train"].weights
                if sums is None or name not in sums.positives:
                    raise ValueError(
                        f"splits.train.weights.positives has no sum for label {name!r}, which a "
                        "schema with a weight_column needs"
                    )
        return self

    def _check_roles(self) -> None:
        """A column has one type, and a label is no input."""
        inputs = {name: f"feature {name!r}" for name in self.feature_names}
        single = {feature.name for feature in self.sparse if not feature.multi}
        others = [(label.column, f"label {label.name!r}") for label in self.labels]
        others += [(one.oracle, f"the oracle of {one.name!r}") for one in self.labels if one.oracle]
        known = dict(others)
        for bag in self.sparse:
            if bag.weights is not None:
                role = f"the weights of {bag.name!r}"
                if bag.weights in known:
                    raise ValueError(
                        f"column {bag.weights!r} is {known[bag.weights]} and {role}; give each its "
                        "own"
                    )
                others.append((bag.weights, role))
        taken = inputs.keys() - single | {column for column, _ in others}
        if self.user_column in taken:
            raise ValueError(
                f"user_column {self.user_column!r} is the column of another role, too; name the "
                "column of user ids"
            )
        others_taken = [*inputs, self.user_column, *(column for column, _ in others)]
        if self.weight_column is not None and self.weight_column in others_taken:
            raise ValueError(
                f"weight_column {self.weight_column!r} is the column of another role, too; name "
                "the column of row weights"
            )
        for column, role in others:
            if column in inputs:
                raise ValueError(
                    f"column {column!r} is {inputs[column]} and {role}; give each its own"
                )

    def hash_rows(self, default: int) -> dict[str, int]:
        """Return the rows after each table's vocabulary; `default` for tables without their own."""
        return {
            table.name: default if table.unknown_rows is None else table.unknown_rows
            for table in self.tables
        }

    def rate(self, label: str) -> float:
        """Return the share of positives among a label's known training rows, within (0, 1), by
        weight if rows have weights."""
        train = self.splits["train"]
        known = max(2, train.rows - train.missing.get(label, 0))
        positives: float = train.positives[label]
        if self.weight_column is not None and (sums := train.weights) is not None:
            weight = sums.rows - sums.missing.get(label, 0.0)
            positives = known * sums.positives[label] / weight if weight > 0 else 0.0
        return min(max(positives, 1), known - 1) / known

    @property
    def feature_names(self) -> list[str]:
        """Sparse, then dense features."""
        return [*(feature.name for feature in self.sparse), *(number.name for number in self.dense)]

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    def with_splits_of(self, other: Schema, folder: Path) -> Schema:
        """Return this schema with the splits of another folder that is encoded in the same way.

        For a model trained on this schema, whose vocabularies, means and deviations are kept.
        Raises UserError if indices in `folder` have other meanings or columns are missing.
        """
        theirs = {table.name: table for table in other.tables}
        for name in self.feature_names:
            if name not in other.feature_names:
                raise UserError(
                    f"{folder}: has no feature {name!r}, which the model needs; "
                    "prepare it with the same version of 'homerec prepare'"
                )
        for table in self.tables:
            if theirs.get(table.name) != table:
                raise UserError(
                    f"{folder}: vocabulary {table.name!r} differs from that of the model; "
                    "prepare the folder with --vocabulary-from the training folder"
                )
        if self.program != other.program:
            raise UserError(
                f"{folder}: its features were made in another way than those of the model; give "
                "the folder that the model was trained on, or train again"
            )
        return self.model_copy(update={"splits": other.splits})

    def save(self, folder: Path) -> None:
        write_text(folder / "schema.json", self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def load(folder: AnyPath) -> Schema:
        """Read `folder`/schema.json. Raises UserError if it is not a prepared folder."""
        path = folder / "schema.json"
        if not has_file(path):
            if folder.is_dir():
                raise UserError(
                    f"{folder}: not a prepared folder (no schema.json); name one that 'homerec "
                    "prepare' wrote, or describe your own data in a schema.json: "
                    "docs/guides/prepare_data.md"
                )
            raise UserError(
                f"{folder}: not a prepared folder (there is no such folder); name the one that "
                "'homerec prepare ... --out DIR' wrote"
            )
        text = read_text(path, remedy=AGAIN)
        try:
            check_keys(text)
            return Schema.model_validate_json(text, strict=True)
        except DuplicateKey as error:
            raise UserError(f"{path}: {error}; {AGAIN}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}: " for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{path}: {where}{message}; {AGAIN}") from error
