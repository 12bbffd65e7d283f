"""Levels of experts followed by task towers: the base of PLE and AdaTT."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.config import ExpertConfig
from models.layers.experts import TaskTowers
from models.tasks import Task
from models.towers.level import Level


class Stack(nn.Module):
    """Each level reads the outputs of the previous one; the last has one output per task.

    Call `init_weights` before use.
    """

    def __init__(
        self, config: ExpertConfig, tasks: Sequence[Task], levels: Sequence[Level]
    ) -> None:
        super().__init__()
        self.towers = TaskTowers(tasks, config)
        self.levels = nn.ModuleList(levels)

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        x_BND = v_BF[:, None]
        for level in self.levels:
            x_BND = level(x_BND).outputs_BMD
        logits_BT: Tensor = self.towers(x_BND.transpose(0, 1))
        return logits_BT

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        for level in self.levels:
            assert isinstance(level, Level)
            level.init_weights(seed)
        self.towers.init_weights(seed)
