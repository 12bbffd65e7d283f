"""MMoE, Multi-gate Mixture-of-Experts: one level of experts, one softmax gate per task.

Ma et al., KDD 2018, doi 10.1145/3219819.3220007.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.experts import Activation, Experts, ExpertSizes, TaskTowers
from models.gates import Gates, mix
from models.norm import BatchMean, Normalisation
from models.probe import Probe, by_name
from models.tasks import Task, canonical, positions


class MmoeConfig(ExpertSizes):
    """Sizes of MMoE. With normalisation 'batch' and activation 'swish' it is MMoE*."""

    kind: Literal["mmoe"] = "mmoe"
    """Which tower this is."""
    num_experts: int = Field(6, ge=1)
    """Experts, all shared by all tasks."""
    normalisation: Normalisation = "none"
    """Of each expert layer's output."""
    activation: Activation = "relu"
    """Of experts and task towers."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> "MMoE":
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are empty or ambiguous, or no features.
        """
        return MMoE(self, num_features, tasks, batch_mean)


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
        if num_features < 1:
            raise ValueError(f"num_features: {num_features}; a tower needs one feature or more")
        self.config = config
        self.output_order = positions(tasks)
        self.task_names = tuple(task.name for task in canonical(tasks))
        self.visible = [[*range(config.num_experts)]] * len(tasks)
        self.experts = Experts(
            [f"expert.{i}" for i in range(config.num_experts)],
            num_features,
            (*config.expert_hidden, config.expert_dim),
            normalisation=config.normalisation,
            activation=config.activation,
            batch_mean=batch_mean,
        )
        gate_names = [f"gate.{name}" for name in self.task_names]
        self.gates = Gates(gate_names, num_features, self.visible, config.num_experts)
        self.towers = TaskTowers(
            self.task_names, config.expert_dim, config.tower_hidden, config.activation
        )

    def forward(self, v_BF: Tensor, probe: Probe | None = None) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        out_EBD = self.experts(v_BF)
        weights_BTE = self.gates(v_BF).softmax(-1)
        if probe is not None:
            probe.add_experts(self.experts.names, out_EBD)
            probe.gates = by_name(weights_BTE, self.task_names, self.experts.names, self.visible)
        logits_TB = self.towers(mix(weights_BTE, out_EBD).transpose(0, 1))
        order = torch.tensor(self.output_order, device=logits_TB.device)
        return logits_TB.index_select(0, order).t()

    def init_weights(self, seed: int) -> None:
        """Fills every parameter and buffer, each drawn by its name and `seed`."""
        self.experts.init_weights(seed)
        self.gates.init_weights(seed)
        self.towers.init_weights(seed)
