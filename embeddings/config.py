"""Configuration of embedding tables: shape, optimizer and sharding. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from embeddings.frozen import Frozen

if TYPE_CHECKING:
    from embeddings.features import EmbeddingTable

Pooling = Literal["sum", "mean"]
DType = Literal["fp32", "fp16"]
CommDType = Literal["fp32", "fp16", "bf16"]

DATA_PARALLEL = "data_parallel"
"""The sharding type of a table that every rank has a copy of."""
SHARDING_TYPES = (
    DATA_PARALLEL,
    "table_wise",
    "column_wise",
    "row_wise",
    "table_row_wise",
    "table_column_wise",
    "grid_shard",
)
"""The values of TorchRec's ShardingType."""

COLUMN_SPLIT = ("column_wise", "table_column_wise", "grid_shard")
"""Types that split columns."""

# Types that TorchRec 1.8 supports for unpooled rows, except data_parallel: FBGEMM 1.8 on CPU sums
# the bags of a replicated table even if rows are requested.
UNPOOLED_TYPES = ("table_wise", "column_wise", "row_wise")


class TableOverride(Frozen):
    """Settings of a table, or of all tables that match a pattern."""

    dim: int | None = Field(default=None, ge=4, le=2**13, multiple_of=4)
    """Embedding dimension; unset: `embeddings.dim` or `embeddings.small_dim`."""
    dtype: DType | None = None
    """Storage type of the weights; unset: `embeddings.dtype`."""


class EmbeddingsConfig(Frozen):
    """Embedding tables."""

    dim: int = Field(default=16, ge=4, le=2**13, multiple_of=4)
    """Embedding dimension of tables with at least `small_rows` ids."""
    small_dim: int = Field(default=8, ge=4, le=2**13, multiple_of=4)
    """Embedding dimension of the other tables."""
    small_rows: int = Field(default=1000, ge=0, le=2**40)
    """Vocabulary size, in ids, below which a table is small; `unknown_rows` of schema.json
    count."""
    hash_rows: int = Field(default=100, ge=0, le=2**40)
    """Rows added to each table, into which ids outside its vocabulary are hashed; 0: such ids are
    errors. Not for tables with `unknown_rows` in schema.json."""
    dtype: DType = "fp32"
    """Storage type of the weights."""
    pooling: Pooling = "mean"
    """Pooling of multi-valued features without their own `pooling` in schema.json."""
    poolings: Mapping[str, Pooling] = Field(default_factory=dict)
    """Pooling per feature, by name or pattern ('hist_*'). The last match wins."""
    init_scale: float = Field(default=0.02, gt=0)
    """Initial weights are uniform in [-init_scale, init_scale]."""
    tables: Mapping[str, TableOverride] = Field(default_factory=dict)
    """Settings per table, by name or pattern. The last match wins."""


class SparseOptimizerConfig(Frozen):
    """Optimizer of the embedding tables: row-wise Adagrad, with one accumulator per row for the
    mean of its squared gradients."""

    kind: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    """Type of the optimizer."""
    lr: float = Field(default=0.02, gt=0)
    """Peak learning rate."""
    eps: float = Field(default=1e-8, gt=0)
    """Constant added to the square root of the accumulator."""
    reset_min_rows: int = Field(default=0, ge=0, le=2**40)
    """Tables with at least this many rows are reset (weights and accumulators) at the start of
    every epoch except the first, to prevent memorizing training rows; 0: no table is reset."""


class ShardingConfig(Frozen):
    """Sharding of the embedding tables over ranks."""

    types: tuple[str, ...] = ()
    """Allowed sharding types: data_parallel, table_wise, column_wise, row_wise, table_row_wise,
    table_column_wise, grid_shard. Empty: all. Tables of model.attention support only table_wise,
    column_wise and row_wise."""
    min_partition: int | None = Field(default=None, ge=4, le=2**13, multiple_of=4)
    """Minimum width of a column shard, in columns; unset: TorchRec's default. Each column shard has
    its own row-wise Adagrad accumulators, so split columns train slightly differently from whole
    rows."""

    planner: Literal["homerec", "torchrec"] = "homerec"
    """Planner: homerec's, as in 'homerec plan', or TorchRec's."""
    cluster: str = ""
    """Cluster for homerec's planner: a preset or a YAML file, as in 'homerec plan --cluster'. '':
    the ranks of this run."""
    plan: Path | None = None
    """Plan file to use instead of a search ('homerec plan SOURCE --out FILE'), made for the same
    ranks and tables. '': none."""

    qcomm_forward: CommDType = "fp32"
    """Number format of embeddings sent to other ranks; fp16 and bf16 halve the bytes."""
    qcomm_backward: CommDType = "fp32"
    """Number format of their gradients. fp16 gradients are scaled by the number of rows of a
    batch."""
    replica_groups: int = Field(default=1, ge=1)
    """Number of groups of ranks for 2D parallelism. Each group has all tables, sharded within the
    group, and trains them on its samples; 1: no replicas."""
    sync_every: int = Field(default=1, ge=1)
    """Steps between averages of the groups' tables (weights and accumulators). Evaluations and
    checkpoints average first."""

    @field_validator("plan", mode="before")
    @classmethod
    def _no_plan(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("types")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in SHARDING_TYPES:
                raise ValueError(
                    f"unknown sharding type {name!r}; known: {', '.join(SHARDING_TYPES)}"
                )
        return value

    def types_of(self, table: EmbeddingTable) -> tuple[str, ...]:
        """Return those of `types` that `table` supports; all that it supports if empty."""
        possible = UNPOOLED_TYPES if table.unpooled else SHARDING_TYPES
        return tuple(name for name in self.types or possible if name in possible)
