"""The optimizer that runs inside the tables' backward."""

from __future__ import annotations

from torch.optim import Optimizer
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from embeddings.config import SparseOptimizerConfig


def in_backward(config: SparseOptimizerConfig) -> tuple[type[Optimizer], dict[str, float]]:
    """Class and arguments to mark tables with; sharding turns the mark into a fused kernel."""
    return RowWiseAdagrad, {"lr": config.lr, "eps": config.eps}
