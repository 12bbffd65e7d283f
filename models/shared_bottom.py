"""Shared-Bottom: one network for all tasks, then a small tower for each.

Caruana, Multitask Learning, Machine Learning 28 (1997).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.experts import Activation, Experts, ExpertSizes, TaskTowers
from models.norm import BatchMean, Normalisation
from models.probe import Probe
from models.tasks import Task, canonical, positions


class SharedBottomConfig(ExpertSizes):
    """Sizes of Shared-Bottom; `expert_hidden` and `expert_dim` are those of the bottom."""

    kind: Literal["shared_bottom"] = "shared_bottom"
    """Which tower this is."""
    normalisation: Normalisation = "none"
    """Of each bottom layer's output."""
    activation: Activation = "relu"
    """Of the bottom and of task towers."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> "SharedBottom":
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are empty or ambiguous, or no features.
        """
        return SharedBottom(self, num_features, tasks, batch_mean)


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
        if num_features < 1:
            raise ValueError(f"num_features: {num_features}; a tower needs one feature or more")
        self.config = config
        self.output_order = positions(tasks)
        self.bottom = Experts(
            ["bottom"],
            num_features,
            (*config.expert_hidden, config.expert_dim),
            normalisation=config.normalisation,
            activation=config.activation,
            batch_mean=batch_mean,
        )
        names = [task.name for task in canonical(tasks)]
        self.towers = TaskTowers(names, config.expert_dim, config.tower_hidden, config.activation)

    def forward(self, v_BF: Tensor, probe: Probe | None = None) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        out_EBD = self.bottom(v_BF)
        if probe is not None:
            probe.add_experts(self.bottom.names, out_EBD)
        logits_TB = self.towers(out_EBD.squeeze(0))
        order = torch.tensor(self.output_order, device=logits_TB.device)
        return logits_TB.index_select(0, order).t()

    def init_weights(self, seed: int) -> None:
        """Fills every parameter and buffer, each drawn by its name and `seed`."""
        self.bottom.init_weights(seed)
        self.towers.init_weights(seed)
