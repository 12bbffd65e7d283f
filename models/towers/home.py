"""HoME, Hierarchy of Multi-Gate Experts: a multi-task tower of two levels of experts.

Follows Wang et al., KDD 2025, arXiv 2408.05430, which was published without code. Where the paper
is ambiguous, a field of HomeConfig selects the variant.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.experts import TaskTowers
from models.layers.norm import BatchMean
from models.tasks import SHARED, Task, canonical, categories
from models.towers.config import HomeConfig
from models.towers.level import Group, Level, Masks, Mixture


class HoME(nn.Module):
    """See HomeConfig. Call `init_weights` before use.

    With v the features, c a category, t a task of it, and mixes of experts on their inputs:

        z_c      = gate_c(v) [shared, c]          + self_gate_c(v) [c]
        z_shared = gate_shared(v) [shared, all c] + self_gate_shared(v) [shared]
        y_t      = gate_t(z_c, z_shared) [global(z_shared), category_c(z_c), specific_t(z_c)]
                   + self_gate_t(z_c) [specific_t(z_c)]
        logit_t  = tower_t(y_t)
    """

    def __init__(
        self,
        config: HomeConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        names = categories(tasks)
        per_group = config.feature_gate_per == "group"
        masks = Masks(config.num_masks, config.mask_rank, per_group)

        groups, mixtures = _level1(config, names)
        self.level1 = Level(
            "meta",
            1,
            num_features,
            groups,
            mixtures,
            config,
            batch_mean,
            self_gates=config.self_gate,
            masks=masks if config.feature_gate_1 else None,
            meta_prefix="",
        )
        groups, mixtures = _level2(config, names, tasks)
        self.level2 = Level(
            "level2",
            1 + len(names),
            config.expert_dim,
            groups,
            mixtures,
            config,
            batch_mean,
            self_gates=config.self_gate,
            masks=masks if config.feature_gate_2 else None,
        )

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        z = self.level1(v_BF[:, None])
        y = self.level2(z.outputs_BMD)
        return self.towers(y.outputs_BMD.transpose(0, 1))

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        self.level1.init_weights(seed)
        self.level2.init_weights(seed)
        self.towers.init_weights(seed)


def _level1(config: HomeConfig, names: Sequence[str]) -> tuple[list[Group], list[Mixture]]:
    """Group and output 0 are the shared ones, c is the c-th category's."""
    groups = [Group(f"meta.{name}", config.num_meta_experts) for name in (SHARED, *names)]
    mixtures = [Mixture(SHARED, inputs=[0], groups=range(len(groups)), self_group=0)]
    for c, name in enumerate(names, start=1):
        mixtures.append(Mixture(name, inputs=[0], groups=[0, c], self_group=c))
    return groups, mixtures


def _level2(
    config: HomeConfig, names: Sequence[str], tasks: Sequence[Task]
) -> tuple[list[Group], list[Mixture]]:
    """Group 0 is global, c is the c-th category's, then one group for each task."""
    groups = [Group("level2.global", config.num_global_experts, source=0)]
    for c, name in enumerate(names, start=1):
        groups.append(Group(f"level2.category.{name}", config.num_category_experts, source=c))
    mixtures = []
    for task in canonical(tasks):
        c, specific = 1 + names.index(task.category), len(groups)
        groups.append(
            Group(f"level2.task_specific.{task.name}", config.num_task_specific_experts, source=c)
        )
        mixtures.append(
            Mixture(task.name, inputs=[c, 0], groups=[0, c, specific], self_group=specific)
        )
    if not config.hierarchy_mask:
        mixtures = [mixture._replace(groups=range(len(groups))) for mixture in mixtures]
    return groups, mixtures
