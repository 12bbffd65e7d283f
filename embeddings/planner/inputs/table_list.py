"""Table lists: all that the planner needs to know about a model, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn
from torch.optim import SGD, Adagrad, Adam, Optimizer
from torch.overrides import TorchFunctionMode
from torchrec.distributed.planner.types import ParameterConstraints
from torchrec.distributed.types import CacheParams, CacheStatistics
from torchrec.modules.embedding_configs import (
    EmbeddingBagConfig,
    EmbeddingConfig,
)
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from embeddings.collection import collection_fields
from embeddings.frozen import Frozen
from embeddings.names import check_name
from embeddings.number_types import Place
from embeddings.optimizer_mark import label, mark
from embeddings.planner.inputs.files import read_yaml, validate
from embeddings.table_names import check_table_name

# Bytes of all ranks' tables and exchanges stay below 2**63.
_MAX_ELEMENTS = 2**45
_MAX_MEAN = 2**13

Columns = Annotated[int, Field(ge=4, multiple_of=4)]
"""Of a table, or of a shard."""

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "rowwise_adagrad": RowWiseAdagrad,
    "adagrad": Adagrad,
    "adam": Adam,
    "sgd": SGD,
}


class CacheUse(Frozen):
    """A cache of a table's rows in device memory (kernel fused_uvm_caching)."""

    load_factor: float = Field(gt=0, le=1)
    """Share of the rows in the cache."""
    distinct: float = Field(ge=0)
    """Distinct ids per global batch; each is one lookup in the cache."""
    miss_rate: float = Field(ge=0, le=1)
    """Share of these that miss the cache."""
    cacheability: float = Field(default=0.0, ge=0, le=1)
    """TorchRec's measure of access skew: 0: all lookups on few rows, 0.5: uniform."""

    def params(self) -> CacheParams:
        """TorchRec's."""
        return CacheParams(load_factor=self.load_factor, stats=_Known(self))


class _Known(CacheStatistics):
    """Cache statistics for TorchRec's estimator, known for one cache size."""

    def __init__(self, use: CacheUse) -> None:
        self._use = use

    @property
    def expected_lookups(self) -> float:
        return self._use.distinct

    def expected_miss_rate(self, clf: float) -> float:
        assert clf == self._use.load_factor, f"{clf}: known of {self._use.load_factor} alone"
        return self._use.miss_rate

    @property
    def cacheability(self) -> float:
        return self._use.cacheability

    # Tables with equal usage are estimated once.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self._use == other._use

    def __hash__(self) -> int:
        return hash(self._use)

    # TorchRec hashes constraints by their representation.
    def __repr__(self) -> str:
        return repr(self._use)


class ListedTable(Frozen):
    """An embedding table and its usage."""

    name: str
    """Its name: no blank, and none of . , / * ? [ ]."""
    rows: int = Field(ge=1, le=2**40)
    """Number of rows (ids)."""
    dim: Columns = Field(le=2**13)
    """Width (elements per row, a multiple of 4)."""
    dtype: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Storage type of the weights."""
    features: tuple[str, ...] = ()
    """Features of the table; empty: one with the table's name."""
    pooling_factor: float | tuple[float, ...] = 1.0
    """Mean number of ids per sample, for all features or per feature."""
    num_poolings: float | tuple[float, ...] = 1.0
    """Bags per sample, for all features or per feature."""
    optimizer: Literal["rowwise_adagrad", "adagrad", "adam", "sgd"] = "rowwise_adagrad"
    """Fused optimizer, whose state is stored with the weights."""
    weighted: bool = False
    """Whether ids have weights."""
    unpooled: bool = False
    """Whether the lookup returns individual rows."""
    min_partition: Columns | None = None
    """Minimum columns of a shard, a divisor of `dim`; unset: TorchRec's 128."""
    cache: CacheUse | None = None
    """Cache statistics; unset: TorchRec's default, 20% of the rows without misses."""

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        return check_table_name(value)

    @field_validator("features")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_name, value))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("pooling_factor", "num_poolings"):
            values = _each(getattr(self, field), len(self.feature_names))
            if len(values) != len(self.feature_names):
                raise ValueError(
                    f"{field}: {len(values)} values for {len(self.feature_names)} features; "
                    "give one, or one per feature"
                )
            for value in values:
                if not 0 < value <= _MAX_MEAN:
                    raise ValueError(f"{field}: {value}: give a mean above 0, up to {_MAX_MEAN:,}")
        if self.rows * self.dim > _MAX_ELEMENTS:
            raise ValueError(
                f"rows: {self.rows:,} of {self.dim} numbers are more than {_MAX_ELEMENTS:,}, which "
                "no cluster holds; give fewer"
            )
        if self.min_partition and self.dim % self.min_partition:
            widths = ", ".join(str(n) for n in range(4, self.dim + 1, 4) if self.dim % n == 0)
            raise ValueError(
                f"min_partition: {self.min_partition} does not divide {self.dim} columns; give one "
                f"of {widths}"
            )
        if self.weighted and self.unpooled:
            raise ValueError("weighted: an unpooled table has no weighted sum; remove one of both")
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.features or (self.name,)


class TableList(Frozen):
    """Tables of a model."""

    tables: tuple[ListedTable, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        seen: set[str] = set()
        for table in self.tables:
            if table.name in seen:
                raise ValueError(f"table {table.name!r} is listed twice; rename or remove one")
            seen.add(table.name)
        return self


def load_tables(path: Path) -> tuple[ListedTable, ...]:
    """Load the tables of a YAML file, a list under `tables`.

    Raises ValueError, in one line: file, table, field, value, remedy.
    """
    value = read_yaml(path)
    named = value.get("tables")
    names: dict[Place, str] = (
        {
            ("tables", i): f"table {row.get('name', i)!r}"
            for i, row in enumerate(named)
            if isinstance(row, dict)
        }
        if isinstance(named, list)
        else {}
    )
    return validate(TableList, value, path, names).tables


def build_module(tables: Sequence[ListedTable], *, trained: bool = False) -> nn.Module:
    """The tables on meta, marked with their optimizers, in as few collections as TorchRec allows:

    weighted bags, other bags, and unpooled rows (one collection a width). Only where they are to be
    `trained` do the optimizers run in backward.
    """
    with _Uninitialized():
        collections = _collections(tables)
    optimizers = {table.name: OPTIMIZERS[table.optimizer] for table in tables}
    for collection in collections.values():
        for name, parameter in collection.named_parameters():
            # embedding_bags.TABLE.weight or embeddings.TABLE.weight
            optimizer = optimizers[name.split(".")[-2]]
            if trained:
                mark([parameter], optimizer, {"lr": 0.01})
            else:
                label(parameter, optimizer)
    return nn.ModuleDict(collections)


class _Uninitialized(TorchFunctionMode):
    """Leaves meta tensors alone, which have no values; torch's own way of it loads its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, nn.init.uniform_):
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _collections(tables: Sequence[ListedTable]) -> dict[str, nn.Module]:
    collections: dict[str, nn.Module] = {}
    for weighted, key in ((False, "bags"), (True, "weighted_bags")):
        bags = [table for table in tables if not table.unpooled and table.weighted == weighted]
        if bags:
            collections[key] = EmbeddingBagCollection(
                [EmbeddingBagConfig(**_fields(table)) for table in bags],
                is_weighted=weighted,
                device=torch.device("meta"),
            )
    for dim in sorted({table.dim for table in tables if table.unpooled}):
        rows = [table for table in tables if table.unpooled and table.dim == dim]
        collections[f"rows_{dim}"] = EmbeddingCollection(
            [EmbeddingConfig(**_fields(table)) for table in rows], device=torch.device("meta")
        )
    return collections


def usage(tables: Sequence[ListedTable]) -> dict[str, ParameterConstraints]:
    """Return the usage of each table as TorchRec's constraints."""
    return {
        table.name: ParameterConstraints(
            pooling_factors=_each(table.pooling_factor, len(table.feature_names)),
            num_poolings=_each(table.num_poolings, len(table.feature_names)),
            is_weighted=table.weighted,
            min_partition=table.min_partition,
            cache_params=table.cache and table.cache.params(),
        )
        for table in tables
    }


def _each(value: float | tuple[float, ...], count: int) -> list[float]:
    return list(value) if isinstance(value, tuple) else [value] * count


def _fields(table: ListedTable) -> dict[str, Any]:
    names = table.feature_names
    return collection_fields(table.name, table.rows, table.dim, names, table.dtype)
