"""Levels of experts followed by task towers: the base of PLE and AdaTT."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.config import ExpertConfig
from models.layers.experts import TaskTowers
from models.probe import Probe
from models.tasks import Task
from models.towers.level import Level


class Stack(nn.Module):
    """Each level reads what the one before mixed; the last mixes one output for each task.

    Call `init_weights` before use.
    """

    def __init__(
        self, config: ExpertConfig, tasks: Sequence[Task], levels: Sequence[Level]
    ) -> None:
        super().__init__()
        self.towers = TaskTowers(tasks, config)
        self.levels = nn.ModuleList(levels)

    def forward(self, v_BF: Tensor, probe: Probe | None = None) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        x_BND = v_BF[:, None]
        for number, level in enumerate(self.levels, start=1):
            assert isinstance(level, Level)
            mixed = level(x_BND)
            x_BND = mixed.outputs_BMD
            if probe is not None:
                probe.experts |= level.experts_by_name(mixed)
                gates, self_gates = level.gates_by_name(mixed), level.self_gates_by_name(mixed)
                if number == len(self.levels):
                    probe.gates, probe.self_gates = gates, self_gates
                else:
                    probe.meta_gates |= {f"level{number}.{k}": w for k, w in gates.items()}
                    probe.meta_self_gates |= {
                        f"level{number}.{k}": w for k, w in self_gates.items()
                    }
        return self.towers(x_BND.transpose(0, 1))

    def init_weights(self, seed: int) -> None:
        """Fills every parameter and buffer, each drawn by its name and `seed`."""
        for level in self.levels:
            assert isinstance(level, Level)
            level.init_weights(seed)
        self.towers.init_weights(seed)
