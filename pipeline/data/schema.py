"""What a prepared folder holds: `schema.json`, one source of truth between prepare and training.

    DIR/schema.json
    DIR/vocab/TABLE.parquet          columns: id (the raw value as string), index (int64, from 1)
    DIR/{train,val,test}/part-*.parquet   several row groups each; the schema lists the files

Columns of a shard, one row an impression:
- a sparse feature: int64 (single-valued) or list<int64> (multi-valued) of vocabulary indices:
  0 is 'missing', 1 .. vocab_size-1 a known id, and an id outside the vocabulary is
  `vocab_size + h` with h a non-negative 62-bit hash of the raw value (the embedding layer folds
  it into its hash rows). A negative index is an error.
- a dense feature: float32, raw (the reader normalises with the schema's mean and std); null = mean.
- a label: float32, 0 or 1; null = missing, masked out of loss and metrics.
- an oracle, where there is one: float32, the row's true probability of that label.
- `user_column`: int64, groups rows for GAUC; null (or index 0 of a sparse feature) = no user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from embeddings.names import check_name
from pipeline.io.errors import UserError
from pipeline.io.files import write_text
from pipeline.io.storage import AnyPath

SPLIT = Literal["train", "val", "test"]
SPLITS: tuple[SPLIT, ...] = ("train", "val", "test")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Name = Annotated[str, AfterValidator(check_name)]
_NO_LABELS = ("loss", "mean", "total")  # logs have loss/total, and mean/auc selects checkpoints


class SparseFeature(_Frozen):
    """An id feature. Features with the same table share its rows (a history bag, say)."""

    name: Name
    group: Literal["user", "item", "context"]
    table: Name
    multi: bool = False

    @property
    def column(self) -> str:
        return self.name


class Table(_Frozen):
    """A vocabulary: indices 0 (missing) to vocab_size - 1."""

    name: Name
    vocab_size: int = Field(ge=1, le=2**40)
    fingerprint: str = ""
    """Of the vocabulary's ids in their order: equal where indices mean the same ids."""


class DenseFeature(_Frozen):
    """A number, normalised by the training split's mean and standard deviation."""

    name: Name
    mean: float
    std: float = Field(gt=0)

    @property
    def column(self) -> str:
        return self.name


class Label(_Frozen):
    """A task's target. `default` false: too rare to train on unless asked for by name."""

    name: Name
    column: str
    category: Name
    oracle: str | None = None
    default: bool = True


class Split(_Frozen):
    """`files` are relative to the prepared folder, in time order."""

    rows: int = Field(default=0, ge=0)
    files: tuple[str, ...] = ()
    positives: dict[str, int] = Field(default_factory=dict)
    """Rows with a label of 1, by label name."""
    missing: dict[str, int] = Field(default_factory=dict)
    """Rows without a label, by label name; none where a label is not named."""


class Schema(_Frozen):
    """Everything a run must know of a prepared folder."""

    version: Literal[1] = 1
    dataset: str
    made_by: str
    user_column: str
    sparse: tuple[SparseFeature, ...]
    tables: tuple[Table, ...]
    dense: tuple[DenseFeature, ...]
    labels: tuple[Label, ...]
    splits: dict[SPLIT, Split]

    @field_validator("splits")
    @classmethod
    def _every_split(cls, splits: dict[SPLIT, Split]) -> dict[SPLIT, Split]:
        """A split that is not named is empty."""
        return {name: splits.get(name, Split()) for name in SPLITS}

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        """Names that differ where they must, and that lead somewhere."""
        labels = [label.name for label in self.labels]
        for what, names in (
            ("feature", self.feature_names),
            ("table", [table.name for table in self.tables]),
            ("label", labels),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} {name!r} is there twice; names must differ")
        for name in _NO_LABELS:
            if name in labels:
                raise ValueError(f"a label cannot be called {name!r}, which logs have; rename it")
        known = {table.name for table in self.tables}
        for feature in self.sparse:
            if feature.table not in known:
                raise ValueError(
                    f"feature {feature.name!r} has table {feature.table!r}, which tables lacks"
                )
        for name in labels:
            if name not in self.splits["train"].positives:
                raise ValueError(f"splits.train.positives has no count for label {name!r}")
        return self

    def rate(self, label: str) -> float:
        """Share of a label's known training rows that are positive, kept off 0 and 1."""
        train = self.splits["train"]
        known = max(2, train.rows - train.missing.get(label, 0))
        return min(max(train.positives[label], 1), known - 1) / known

    @property
    def feature_names(self) -> list[str]:
        """Sparse features, then dense ones."""
        return [*(feature.name for feature in self.sparse), *(number.name for number in self.dense)]

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    def with_splits_of(self, other: Schema, folder: Path) -> Schema:
        """This schema, with the rows of another folder encoded as this one's are.

        For a model trained on this schema: its vocabularies, means and deviations stay.
        UserError if indices in `folder` mean other ids, or columns are missing there.
        """
        theirs = {table.name: table for table in other.tables}
        for name in self.feature_names:
            if name not in other.feature_names:
                raise UserError(
                    f"{folder}: has no feature {name!r}, which the model was trained with; "
                    "prepare it with the same version of 'homerec prepare'"
                )
        for table in self.tables:
            if theirs.get(table.name) != table:
                raise UserError(
                    f"{folder}: vocabulary {table.name!r} is not the one the model was trained "
                    "with; prepare the folder with --vocabulary-from the training folder"
                )
        return self.model_copy(update={"splits": other.splits})

    def save(self, folder: Path) -> None:
        write_text(folder / "schema.json", self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def load(folder: AnyPath) -> Schema:
        """Read `folder`/schema.json. UserError if it is not a prepared folder."""
        path = folder / "schema.json"
        if not path.is_file():
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
        try:
            return Schema.model_validate_json(path.read_text(encoding="utf-8-sig"), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}: " for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{path}: {where}{message}; prepare the folder again") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
