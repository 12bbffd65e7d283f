"""The optimizer that runs inside the tables' backward."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch.optim import Optimizer
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad


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


def in_backward(config: SparseOptimizerConfig) -> tuple[type[Optimizer], dict[str, float]]:
    """Class and arguments to mark tables with; sharding turns the mark into a fused kernel."""
    return RowWiseAdagrad, {"lr": config.lr, "eps": config.eps}
