"""The optimizer that runs inside the tables' backward."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn
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
    renew_rows: int = Field(default=0, ge=0)
    """Tables of at least this many rows begin every epoch after the first anew, weights and
    accumulators: what they know by heart of rows seen before is not counted on; 0: none do."""


def in_backward(config: SparseOptimizerConfig) -> tuple[type[Optimizer], dict[str, float]]:
    """Class and arguments to mark tables with; sharding turns the mark into a fused kernel."""
    return RowWiseAdagrad, {"lr": config.lr, "eps": config.eps}


def unfused_optimizer(
    parameters: Iterable[nn.Parameter], config: SparseOptimizerConfig
) -> RowWiseAdagrad:
    """The same update as a step of its own, for tables whose kernel is dense (all replicated ones).

    A row without a gradient stays as it is, as in the fused kernel, which does not touch it. The
    accumulators are all its state: it counts steps as well, for a decay that is not used here.
    """
    return RowWiseAdagrad(parameters, lr=config.lr, eps=config.eps)
