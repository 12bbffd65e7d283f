"""The optimizer fused into the tables' backward."""

from __future__ import annotations

from torch.optim import Optimizer
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from embeddings.config import SparseOptimizerConfig


def in_backward(config: SparseOptimizerConfig) -> tuple[type[Optimizer], dict[str, float]]:
    """Return the optimizer class and arguments to mark tables with; sharding fuses it."""
    return RowWiseAdagrad, {"lr": config.lr, "eps": config.eps}
