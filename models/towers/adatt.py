"""AdaTT, Adaptive Task-to-Task Fusion: levels where every task may use every expert.

Li et al., KDD 2023, arXiv 2304.04959. Checked against the authors' repository,
facebookresearch/AdaTT.
"""

from collections.abc import Sequence

from models.layers.norm import BatchMean
from models.tasks import SHARED, Task, canonical
from models.towers.config import AdattConfig
from models.towers.level import Group, Level, Mixture
from models.towers.stack import Stack


class AdaTT(Stack):
    """See AdattConfig. Call `init_weights` before use.

    At each level, with x_u the output of unit u (a task, or the shared unit) at the previous level,
    or the features v at the first:

        x_u' = gate_u(x_u) [experts of all units]     AllExpert, a softmax
             + w_u [experts of u]                     NativeExpert, learned weights; 1 for one

    Experts of u read x_u. The last level also has shared experts, but mixes for tasks only.
    """

    def __init__(
        self,
        config: AdattConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        units = [
            (f"task_specific.{task.name}", task.name, config.num_task_specific_experts)
            for task in canonical(tasks)
        ]
        has_shared = config.num_shared_experts > 0
        if has_shared:
            units.insert(0, (SHARED, SHARED, config.num_shared_experts))
        levels = []
        for i in range(config.num_levels):
            is_first, is_last = i == 0, i == config.num_levels - 1
            groups, mixtures = [], []
            for u, (group, name, size) in enumerate(units):
                source = 0 if is_first else u
                groups.append(Group(f"level{i + 1}.{group}", size, source))
                mixtures.append(
                    Mixture(name, inputs=[source], groups=range(len(units)), self_group=u)
                )
            levels.append(
                Level(
                    f"level{i + 1}",
                    1 if is_first else len(units),
                    num_features if is_first else config.expert_dim,
                    groups,
                    mixtures[1:] if is_last and has_shared else mixtures,
                    config,
                    batch_mean,
                    native_weights=True,
                    meta_prefix=None if is_last else f"level{i + 1}.",
                )
            )
        super().__init__(config, tasks, levels)
        self.config = config
