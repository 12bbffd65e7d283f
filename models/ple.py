"""PLE, Progressive Layered Extraction: levels of shared and of tasks' own experts.

Tang et al., RecSys 2020, doi 10.1145/3383313.3412236. With one level it is CGC of the same
paper, Customized Gate Control.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from models.experts import ExpertConfig, TaskTowers
from models.level import Group, Level, Mixture
from models.norm import BatchMean
from models.probe import Probe
from models.tasks import SHARED, Task, canonical


class PleConfig(ExpertConfig):
    """Sizes of PLE. With normalisation 'batch' and activation 'swish' it is PLE*."""

    kind: Literal["ple"] = "ple"
    """Which tower this is."""
    num_levels: int = Field(2, ge=1)
    """Levels of experts; 1 makes it CGC."""
    num_shared_experts: int = Field(2, ge=1)
    """Experts of each level that all tasks share."""
    num_own_experts: int = Field(1, ge=1)
    """Experts of each level of a task's own, for each task."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> "PLE":
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        return PLE(self, num_features, tasks, batch_mean)


class PLE(nn.Module):
    """See PleConfig. Call `init_weights` before use."""

    def __init__(
        self,
        config: PleConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        self.levels = nn.ModuleList()
        names = [task.name for task in canonical(tasks)]
        for i in range(config.num_levels):
            # The first level reads the features alone; every later one what the level before
            # mixed for it: input 0 for all, input t for the t-th task.
            is_first, is_last = i == 0, i == config.num_levels - 1
            groups = [Group(f"level{i + 1}.shared", config.num_shared_experts)]
            mixtures = [Mixture(SHARED, hears=[0], sees=range(1 + len(names)), own=0)]
            for t, name in enumerate(names, start=1):
                source = 0 if is_first else t
                groups.append(Group(f"level{i + 1}.own.{name}", config.num_own_experts, source))
                mixtures.append(Mixture(name, hears=[source], sees=[0, t], own=t))
            self.levels.append(
                Level(
                    f"level{i + 1}",
                    1 if is_first else 1 + len(names),
                    num_features if is_first else config.expert_dim,
                    groups,
                    mixtures[1:] if is_last else mixtures,
                    config,
                    batch_mean,
                )
            )

    def forward(self, v_BF: Tensor, probe: Probe | None = None) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        x_BND = v_BF[:, None]
        for level in self.levels:
            assert isinstance(level, Level)
            mixed = level(x_BND)
            x_BND = mixed.outputs_BMD
            if probe is not None:
                probe.experts |= level.experts_by_name(mixed)
                probe.gates = level.gates_by_name(mixed)
        return self.towers(x_BND.transpose(0, 1))

    def init_weights(self, seed: int) -> None:
        """Fills every parameter and buffer, each drawn by its name and `seed`."""
        for level in self.levels:
            assert isinstance(level, Level)
            level.init_weights(seed)
        self.towers.init_weights(seed)
