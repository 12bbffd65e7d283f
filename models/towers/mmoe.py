"""MMoE, Multi-gate Mixture-of-Experts: one level of experts, one softmax gate per task.

Ma et al., KDD 2018, doi 10.1145/3219819.3220007.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.experts import TaskTowers
from models.layers.norm import BatchMean
from models.tasks import Task, canonical
from models.towers.config import MmoeConfig
from models.towers.level import Group, Level, Mixture


class MMoE(nn.Module):
    """See MmoeConfig. Call `init_weights` before use."""

    def __init__(
        self,
        config: MmoeConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        groups = [Group("expert", config.num_experts)]
        mixtures = [
            Mixture(task.name, inputs=[0], groups=[0], self_group=0) for task in canonical(tasks)
        ]
        self.level = Level("mmoe", 1, num_features, groups, mixtures, config, batch_mean)

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        y = self.level(v_BF[:, None])
        return self.towers(y.outputs_BMD.transpose(0, 1))

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        self.level.init_weights(seed)
        self.towers.init_weights(seed)
