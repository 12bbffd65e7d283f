"""Configuration of embedding tables: their shape, optimizer and sharding. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from embeddings.features import EmbeddingTable

Pooling = Literal["sum", "mean"]
DType = Literal["fp32", "fp16"]
Sent = Literal["fp32", "fp16", "bf16"]

SHARDING_TYPES = (
    "data_parallel",
    "table_wise",
    "column_wise",
    "row_wise",
    "table_row_wise",
    "table_column_wise",
    "grid_shard",
)
"""The values of TorchRec's ShardingType."""

# TorchRec 1.8 has these for unpooled rows, and data_parallel, which is left out: FBGEMM 1.8 on CPU
# sums a replicated table's bags although its rows are asked for.
UNPOOLED_TYPES = ("table_wise", "column_wise", "row_wise")


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class TableOverride(_Frozen):
    """What one table (or every table matching a pattern) does differently."""

    dim: int | None = Field(default=None, ge=4, multiple_of=4)
    """Embedding dimension (floats a row, a multiple of 4)."""
    dtype: DType | None = None
    """Storage type of the weights: fp32 or fp16."""


class EmbeddingsConfig(_Frozen):
    """The sparse half of a model."""

    dim: int = Field(default=16, ge=4, multiple_of=4)
    """Dimension of tables for at least `small_rows` ids (floats a row, a multiple of 4)."""
    small_dim: int = Field(default=8, ge=4, multiple_of=4)
    """Dimension of the other tables."""
    small_rows: int = Field(default=1000, ge=0)
    """A vocabulary of fewer ids than this is small."""
    hash_rows: int = Field(default=100, ge=0)
    """Rows added to a table for ids outside its vocabulary, picked by hash; 0 refuses such ids."""
    dtype: DType = "fp32"
    """Storage type of the weights: fp32 or fp16."""
    pooling: Pooling = "mean"
    """How the rows of a multi-valued feature become one vector: sum or mean."""
    poolings: Mapping[str, Pooling] = Field(default_factory=dict)
    """Pooling of single features, by feature name or pattern ('hist_*'); a later one wins."""
    init_scale: float = Field(default=0.02, gt=0)
    """Weights start uniform in [-init_scale, init_scale]."""
    tables: Mapping[str, TableOverride] = Field(default_factory=dict)
    """What single tables do differently, by table name or pattern; a later one wins."""


class SparseOptimizerConfig(BaseModel):
    """Row-wise Adagrad: one accumulator a row, the mean of the row's squared gradients."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    kind: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    """The optimizer."""
    lr: float = Field(default=0.02, gt=0)
    """Learning rate at its peak."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the accumulator."""
    reset_min_rows: int = Field(default=0, ge=0)
    """Tables of at least this many rows begin every epoch after the first anew, weights and
    accumulators: what they know by heart of rows seen before is not counted on; 0: none do."""


class ShardingConfig(BaseModel):
    """What the planner may choose from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    types: tuple[str, ...] = ()
    """Sharding types the planner may use (data_parallel, table_wise, column_wise, row_wise,
    table_row_wise, table_column_wise, grid_shard); none named: all of them. Tables of
    model.attention can be table_wise, column_wise or row_wise alone."""
    min_partition: int | None = Field(default=None, ge=4, multiple_of=4)
    """Narrowest column shard (columns); unset: TorchRec's own rule. Column shards keep row-wise
    Adagrad accumulators of their own, so split columns do not train exactly as whole rows do."""

    planner: Literal["homerec", "torchrec"] = "homerec"
    """Which search finds the plan: homerec's, as 'homerec plan' does, or TorchRec's."""
    cluster: str = ""
    """What homerec's search plans for: a cluster's preset or YAML file, as 'homerec plan --cluster'
    takes; '': the ranks of this run, with the constants of their device."""
    plan: Path | None = None
    """A plan's file ('homerec plan SOURCE --out FILE') to shard by, instead of a search; made for
    this many ranks and these tables. '': none."""

    qcomm_forward: Sent = "fp32"
    """What looked-up rows are sent to other ranks as; fp16 and bf16 halve the bytes."""
    qcomm_backward: Sent = "fp32"
    """What their gradients are sent as; fp16 scaled by the rows of a batch."""
    replica_groups: int = Field(default=1, ge=1)
    """2D parallelism: so many groups of ranks each have all tables, sharded within the group, and
    train them on their own samples; 1: all ranks are one group."""
    sync_every: int = Field(default=1, ge=1)
    """Steps from one averaging of the groups' tables (weights and accumulators) to the next;
    evaluations and checkpoints average first."""

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
        """Those of `types` that `table` can have; all it can have if none is named."""
        possible = UNPOOLED_TYPES if table.unpooled else SHARDING_TYPES
        return tuple(name for name in self.types or possible if name in possible)
