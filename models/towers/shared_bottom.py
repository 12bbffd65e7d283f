"""Shared-Bottom: one network for all tasks, then a small tower for each.

Caruana, Multitask Learning, Machine Learning 28 (1997).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.experts import Experts, TaskTowers
from models.layers.norm import BatchMean
from models.tasks import Task
from models.towers.config import SharedBottomConfig


class SharedBottom(nn.Module):
    """See SharedBottomConfig. Call `init_weights` before use."""

    def __init__(
        self,
        config: SharedBottomConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        self.bottom = Experts(["bottom.0"], num_features, config, batch_mean)

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        y_BD = self.bottom(v_BF).squeeze(0)
        return self.towers(y_BD)

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        self.bottom.init_weights(seed)
        self.towers.init_weights(seed)
