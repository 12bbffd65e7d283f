"""Maps id features to embedding tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from embeddings.config import DType, EmbeddingsConfig, Pooling
from embeddings.table_names import check_table_name

# Order of the groups in the tower's input.
GROUPS = ("user", "item", "context")


class IdFeature(Protocol):
    """Fields of an id feature that this package uses; the data's schema implements it."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def multi(self) -> bool: ...
    @property
    def pooling(self) -> Pooling | None: ...


FeatureT = TypeVar("FeatureT", bound=IdFeature)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingTable:
    """An embedding table, `rows` x `dim`, shared by `features` (names, in the tower's order).

    `unpooled`: the lookup returns individual rows, not sums of bags.
    """

    name: str
    rows: int
    dim: int
    dtype: DType
    features: tuple[str, ...]
    unpooled: bool = False


def build_tables(
    config: EmbeddingsConfig,
    features: Sequence[IdFeature],
    vocab_sizes: Mapping[str, int],
    unpooled: Collection[str] = (),
    hash_rows: Mapping[str, int] | None = None,
) -> tuple[EmbeddingTable, ...]:
    """Return the tables of `features`, in order of first use; `unpooled` names unpooled tables.

    `hash_rows`: of tables that do not have `config.hash_rows`.
    Raises ValueError for an override that matches no table, or a reserved table name.
    """
    users: dict[str, list[str]] = {}
    for feature in in_group_order(features):
        users.setdefault(feature.table, []).append(feature.name)
    for pattern in config.tables:
        if not any(fnmatchcase(name, pattern) for name in users):
            known = ", ".join(users)
            raise ValueError(f"embeddings.tables.{pattern}: no table of that name; tables: {known}")
    return tuple(
        _table(
            config,
            check_table_name(name),
            vocab_sizes[name],
            names,
            name in unpooled,
            None if hash_rows is None else hash_rows.get(name),
        )
        for name, names in users.items()
    )


def _table(
    config: EmbeddingsConfig,
    name: str,
    vocab_size: int,
    features: list[str],
    unpooled: bool,
    hash_rows: int | None,
) -> EmbeddingTable:
    # The ids of a hashed feature are all in its own hash rows.
    num_ids = vocab_size + (hash_rows or 0)
    dim = config.small_dim if num_ids < config.small_rows else config.dim
    dtype = config.dtype
    for pattern, override in config.tables.items():
        if fnmatchcase(name, pattern):
            dim = override.dim or dim
            dtype = override.dtype or dtype
    rows = vocab_size + (config.hash_rows if hash_rows is None else hash_rows)
    return EmbeddingTable(
        name=name, rows=rows, dim=dim, dtype=dtype, features=tuple(features), unpooled=unpooled
    )


def mean_pooled(config: EmbeddingsConfig, features: Sequence[IdFeature]) -> list[str]:
    """Return the multi-valued features with mean pooling; the others are summed.

    Raises ValueError for an override that matches no multi-valued feature.
    """
    bags = [feature.name for feature in features if feature.multi]
    for pattern in config.poolings:
        if not any(fnmatchcase(name, pattern) for name in bags):
            known = ", ".join(bags)
            raise ValueError(f"embeddings.poolings.{pattern}: no bag of that name; bags: {known}")
    chosen = {f.name: f.pooling or config.pooling for f in features if f.multi}
    for pattern, pooling in config.poolings.items():
        chosen |= {name: pooling for name in bags if fnmatchcase(name, pattern)}
    return [name for name, pooling in chosen.items() if pooling == "mean"]


def in_group_order(features: Sequence[FeatureT]) -> list[FeatureT]:
    """Sort by group: user, item, context; keep the given order within each group."""
    return sorted(features, key=lambda feature: GROUPS.index(feature.group))
