"""HoME, Hierarchy of Multi-Gate Experts: a multi-task tower of two levels of experts.

Follows Wang et al., KDD 2025, arXiv 2408.05430. No code was published with it; where
descriptions differ the choice is a field of HomeConfig.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.experts import Activation, Experts, ExpertSizes, TaskTowers
from models.gates import FeatureGates, Gates, mix, self_weights
from models.norm import BatchMean, Normalisation
from models.probe import Probe, by_name
from models.tasks import SHARED, Task, canonical, categories, positions


class HomeConfig(ExpertSizes):
    """Sizes of HoME, and one switch for each of its mechanisms."""

    kind: Literal["home"] = "home"
    """Which tower this is."""
    num_meta_experts: int = Field(2, ge=1)
    """Level-1 experts in each group: the shared one, and one group per category."""
    num_global_experts: int = Field(2, ge=1)
    """Level-2 experts that all tasks share."""
    num_category_experts: int = Field(2, ge=1)
    """Level-2 experts that the tasks of one category share, for each category."""
    num_own_experts: int = Field(1, ge=1)
    """Level-2 experts of a task's own, for each task."""
    normalisation: Normalisation = "batch"
    """Of each expert layer's output: over the batch, over the layer, or none. Against expert
    collapse, together with `activation`."""
    activation: Activation = "swish"
    """Of experts and task towers."""
    hierarchy_mask: bool = True
    """A task sees the level-2 experts that are global, of its category, and its own. False:
    it sees all level-2 experts, those of other categories and other tasks too."""
    feature_gate_1: bool = True
    """Private soft masks on the inputs of level-1 experts."""
    feature_gate_2: bool = True
    """Private soft masks on the inputs of level-2 experts."""
    feature_gate_per: Literal["expert", "group"] = "expert"
    """Whether each expert has a feature-gate, or the experts of one group share one."""
    num_masks: int = Field(2, ge=1)
    """Low-rank masks that one feature-gate mixes, L."""
    mask_rank: int = Field(16, ge=1)
    """Rank of each of them, r."""
    self_gate: bool = True
    """A group's own experts reach its output by a second gate that no one competes for."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> "HoME":
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are empty or ambiguous, or no features.
        """
        return HoME(self, num_features, tasks, batch_mean)


class Level(nn.Module):
    """Experts in groups, behind feature-gates: the part that both levels have in common."""

    def __init__(
        self,
        config: HomeConfig,
        groups: Sequence[tuple[str, int]],
        in_features: int,
        *,
        feature_gate: bool,
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.group_sizes = tuple(size for _, size in groups)
        experts = [f"{group}.{i}" for group, size in groups for i in range(size)]
        self.per_group = config.feature_gate_per == "group"
        gated = [group for group, _ in groups] if self.per_group else experts
        self.feature_gates = (
            FeatureGates(gated, in_features, config.num_masks, config.mask_rank)
            if feature_gate
            else None
        )
        self.experts = Experts(
            experts,
            in_features,
            (*config.expert_hidden, config.expert_dim),
            normalisation=config.normalisation,
            activation=config.activation,
            batch_mean=batch_mean,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, F], or [groups, B, F] by group -> [E, B, D]."""
        if self.per_group and self.feature_gates is not None:
            return self.experts(repeat(self.feature_gates(x), self.group_sizes))
        if x.dim() == 3:
            x = repeat(x, self.group_sizes)
        return self.experts(x if self.feature_gates is None else self.feature_gates(x))

    def init_weights(self, seed: int) -> None:
        if self.feature_gates is not None:
            self.feature_gates.init_weights(seed)
        self.experts.init_weights(seed)


def repeat(x: Tensor, times: Sequence[int]) -> Tensor:
    """Slice i of x, times[i] times."""
    if all(n == 1 for n in times):
        return x
    return torch.cat([x[i : i + 1].expand(n, *x.shape[1:]) for i, n in enumerate(times)])


class HoME(nn.Module):
    """Two levels of experts; see HomeConfig. Call `init_weights` before use.

    Level 1 has groups 'shared' and one per category, all on v. Level 2 has a global group on
    z_shared, and on z of their category a group per category and one per task.
    """

    def __init__(
        self,
        config: HomeConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features: {num_features}; a tower needs one feature or more")
        self.config = config
        ordered = canonical(tasks)
        self.output_order = positions(tasks)
        kinds = categories(tasks)
        self.task_names = tuple(task.name for task in ordered)
        self.category_sizes = tuple(sum(t.category == c for t in ordered) for c in kinds)

        # Level 1. Group 0 is the shared one; group g holds experts g*M to g*M+M-1.
        per_group = config.num_meta_experts
        self.group_names = (SHARED, *kinds)
        num_groups = len(self.group_names)
        groups = [range(g * per_group, (g + 1) * per_group) for g in range(num_groups)]
        self.meta_visible = [[*range(num_groups * per_group)]] + [
            [*groups[0], *groups[g]] for g in range(1, num_groups)
        ]
        self.meta_own = [[*group] for group in groups]
        self.level1 = Level(
            config,
            [(f"meta.{name}", per_group) for name in self.group_names],
            num_features,
            feature_gate=config.feature_gate_1,
            batch_mean=batch_mean,
        )
        names = [f"meta.gate.{name}" for name in self.group_names]
        visible = self.meta_visible
        if config.self_gate:
            names = names + [f"meta.self_gate.{name}" for name in self.group_names]
            visible = visible + self.meta_own
        self.meta_gates = Gates(names, num_features, visible, num_groups * per_group)

        # Level 2. Global experts first, then each category's, then each task's own.
        dim, own = config.expert_dim, config.num_own_experts
        first_category = config.num_global_experts
        first_own = first_category + len(kinds) * config.num_category_experts
        num_experts = first_own + len(ordered) * own
        self.own = [
            [*range(first_own + t * own, first_own + (t + 1) * own)] for t in range(len(ordered))
        ]
        self.visible = []
        for t, task in enumerate(ordered):
            start = first_category + kinds.index(task.category) * config.num_category_experts
            category = range(start, start + config.num_category_experts)
            self.visible.append(
                [*range(first_category), *category, *self.own[t]]
                if config.hierarchy_mask
                else [*range(num_experts)]
            )
        self.level2 = Level(
            config,
            [
                ("level2.global", config.num_global_experts),
                *((f"level2.category.{name}", config.num_category_experts) for name in kinds),
                *((f"level2.own.{name}", own) for name in self.task_names),
            ],
            dim,
            feature_gate=config.feature_gate_2,
            batch_mean=batch_mean,
        )
        self.gates = Gates(
            [f"gate.{name}" for name in self.task_names], 2 * dim, self.visible, num_experts
        )
        self.self_gates = (
            Gates([f"self_gate.{name}" for name in self.task_names], dim, self.own, num_experts)
            if config.self_gate
            else None
        )
        self.towers = TaskTowers(self.task_names, dim, config.tower_hidden, config.activation)

    def forward(self, v_BF: Tensor, probe: Probe | None = None) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        z_GBD = self._level1(v_BF, probe)
        y_TBD = self._level2(z_GBD, probe)
        logits_TB = self.towers(y_TBD)
        order = torch.tensor(self.output_order, device=logits_TB.device)
        return logits_TB.index_select(0, order).t()

    def _level1(self, v_BF: Tensor, probe: Probe | None) -> Tensor:
        out_EBD = self.level1(v_BF)
        num_groups = len(self.group_names)
        logits_BGE = self.meta_gates(v_BF)
        weights_BGE = logits_BGE[:, :num_groups].softmax(-1)
        own_BGE = None
        if self.config.self_gate:
            own_BGE = self_weights(logits_BGE[:, num_groups:], self.config.num_meta_experts)
        if probe is not None:
            names = self.level1.experts.names
            probe.add_experts(names, out_EBD)
            probe.meta_gates = by_name(weights_BGE, self.group_names, names, self.meta_visible)
            if own_BGE is not None:
                probe.meta_self_gates = by_name(own_BGE, self.group_names, names, self.meta_own)
        # Both gates weigh the same experts, so their sum is one mix with summed weights.
        return mix(weights_BGE if own_BGE is None else weights_BGE + own_BGE, out_EBD).transpose(
            0, 1
        )

    def _level2(self, z_GBD: Tensor, probe: Probe | None) -> Tensor:
        # By category, then by task: what the experts and gates of each listen to.
        z_TBD = repeat(z_GBD[1:], self.category_sizes)
        out_EBD = self.level2(torch.cat([z_GBD, z_TBD]))
        shared_TBD = z_GBD[:1].expand_as(z_TBD)
        weights_BTE = self.gates(torch.cat([z_TBD, shared_TBD], dim=-1)).softmax(-1)
        own_BTE = None
        if self.self_gates is not None:
            own_BTE = self_weights(self.self_gates(z_TBD), self.config.num_own_experts)
        if probe is not None:
            names = self.level2.experts.names
            probe.add_experts(names, out_EBD)
            probe.gates = by_name(weights_BTE, self.task_names, names, self.visible)
            if own_BTE is not None:
                probe.self_gates = by_name(own_BTE, self.task_names, names, self.own)
        return mix(weights_BTE if own_BTE is None else weights_BTE + own_BTE, out_EBD).transpose(
            0, 1
        )

    def init_weights(self, seed: int) -> None:
        """Fills every parameter and buffer, each drawn by its name and `seed`."""
        self.level1.init_weights(seed)
        self.meta_gates.init_weights(seed)
        self.level2.init_weights(seed)
        self.gates.init_weights(seed)
        if self.self_gates is not None:
            self.self_gates.init_weights(seed)
        self.towers.init_weights(seed)
