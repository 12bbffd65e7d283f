"""PLE, Progressive Layered Extraction: levels of shared and task-specific experts.

Tang et al., RecSys 2020, doi 10.1145/3383313.3412236. With one level it is CGC, Customized Gate
Control, from the same paper.
"""

from collections.abc import Sequence

from models.layers.norm import BatchMean
from models.tasks import SHARED, Task, canonical
from models.towers.config import PleConfig
from models.towers.level import Group, Level, Mixture
from models.towers.stack import Stack


class PLE(Stack):
    """See PleConfig. Call `init_weights` before use."""

    def __init__(
        self,
        config: PleConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        names = [task.name for task in canonical(tasks)]
        levels = []
        for i in range(config.num_levels):
            # The first level reads the features. Later levels read the outputs of the previous
            # level: input 0 is shared, input t belongs to the t-th task.
            is_first, is_last = i == 0, i == config.num_levels - 1
            groups = [Group(f"level{i + 1}.shared", config.num_shared_experts)]
            mixtures = [Mixture(SHARED, inputs=[0], groups=range(1 + len(names)), self_group=0)]
            for t, name in enumerate(names, start=1):
                source = 0 if is_first else t
                groups.append(
                    Group(
                        f"level{i + 1}.task_specific.{name}",
                        config.num_task_specific_experts,
                        source,
                    )
                )
                mixtures.append(Mixture(name, inputs=[source], groups=[0, t], self_group=t))
            levels.append(
                Level(
                    f"level{i + 1}",
                    1 if is_first else 1 + len(names),
                    num_features if is_first else config.expert_dim,
                    groups,
                    mixtures[1:] if is_last else mixtures,
                    config,
                    batch_mean,
                    meta_prefix=None if is_last else f"level{i + 1}.",
                )
            )
        super().__init__(config, tasks, levels)
        self.config = config
