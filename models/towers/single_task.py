"""Single-task: a separate network for each task. The baseline of a comparison."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.experts import Experts, TaskTowers
from models.layers.norm import BatchMean
from models.tasks import Task, canonical
from models.towers.config import SingleTaskConfig


class SingleTask(nn.Module):
    """See SingleTaskConfig. Call `init_weights` before use."""

    def __init__(
        self,
        config: SingleTaskConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        names = [f"task_specific.{task.name}.0" for task in canonical(tasks)]
        self.experts = Experts(names, num_features, config, batch_mean)

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        logits_BT: Tensor = self.towers(self.experts(v_BF))
        return logits_BT

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        self.experts.init_weights(seed)
        self.towers.init_weights(seed)
