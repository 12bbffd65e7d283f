"""The towers one can choose from. No torch here: build() imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.layers.config import Activation, ExpertConfig, Normalisation

if TYPE_CHECKING:
    from models.layers.norm import BatchMean
    from models.tasks import Task
    from models.towers.adatt import AdaTT
    from models.towers.home import HoME
    from models.towers.mmoe import MMoE
    from models.towers.ple import PLE
    from models.towers.shared_bottom import SharedBottom
    from models.towers.single_task import SingleTask


class HomeConfig(ExpertConfig):
    """Sizes of HoME, and one switch for each of its mechanisms."""

    kind: Literal["home"] = "home"
    """Which tower this is."""
    num_meta_experts: int = Field(2, ge=1)
    """Level-1 experts in each group: the shared one, and one group per category."""
    num_global_experts: int = Field(2, ge=1)
    """Level-2 experts that all tasks share."""
    num_category_experts: int = Field(2, ge=1)
    """Level-2 experts that the tasks of one category share, for each category."""
    num_task_specific_experts: int = Field(1, ge=1)
    """Task-specific level-2 experts, for each task."""
    normalisation: Normalisation = "batch"
    """Of each expert layer: over the batch (of all ranks), over the layer, or none. Counters
    expert collapse, with `activation`."""
    activation: Activation = "swish"
    """After each layer of experts and task towers, except before the logit."""
    hierarchy_mask: bool = True
    """Restrict a task's level-2 gate to the global experts, those of its category and its
    task-specific ones. False: it weighs all level-2 experts. Counters expert degradation."""
    feature_gate_1: bool = True
    """Private soft masks on the inputs of level-1 experts. Counters
    expert underfitting, with `feature_gate_2` and `self_gate`."""
    feature_gate_2: bool = True
    """Private soft masks on the inputs of level-2 experts."""
    feature_gate_per: Literal["expert", "group"] = "expert"
    """Whether each expert has a feature-gate, or the experts of one group share one."""
    num_masks: int = Field(2, ge=1)
    """Low-rank masks that one feature-gate mixes, L."""
    mask_rank: int = Field(16, ge=1)
    """Rank of each of them, r."""
    self_gate: bool = True
    """Add a second gate over the experts of a group alone, in which no other group competes
    with them."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> HoME:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.home import HoME

        return HoME(self, num_features, tasks, batch_mean)


class MmoeConfig(ExpertConfig):
    """Sizes of MMoE. With normalisation 'batch' and activation 'swish' it is MMoE*."""

    kind: Literal["mmoe"] = "mmoe"
    """Which tower this is."""
    num_experts: int = Field(6, ge=1)
    """Experts, all shared by all tasks."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> MMoE:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.mmoe import MMoE

        return MMoE(self, num_features, tasks, batch_mean)


class PleConfig(ExpertConfig):
    """Sizes of PLE. With normalisation 'batch' and activation 'swish' it is PLE*."""

    kind: Literal["ple"] = "ple"
    """Which tower this is."""
    num_levels: int = Field(2, ge=1)
    """Levels of experts; 1 makes it CGC."""
    num_shared_experts: int = Field(2, ge=1)
    """Experts of each level that all tasks share."""
    num_task_specific_experts: int = Field(1, ge=1)
    """Task-specific experts of each level, for each task."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> PLE:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.ple import PLE

        return PLE(self, num_features, tasks, batch_mean)


class AdattConfig(ExpertConfig):
    """Sizes of AdaTT; its defaults are those of the authors' repository."""

    kind: Literal["adatt"] = "adatt"
    """Which tower this is."""
    num_levels: int = Field(2, ge=1)
    """Levels of experts."""
    num_task_specific_experts: int = Field(1, ge=1)
    """Task-specific experts of each level, for each task."""
    num_shared_experts: int = Field(1, ge=0)
    """Shared experts of each level; 0 for AdaTT-sp."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> AdaTT:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.adatt import AdaTT

        return AdaTT(self, num_features, tasks, batch_mean)


class SharedBottomConfig(ExpertConfig):
    """Sizes of Shared-Bottom; `expert_hidden` and `expert_dim` are those of the bottom."""

    kind: Literal["shared_bottom"] = "shared_bottom"
    """Which tower this is."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> SharedBottom:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.shared_bottom import SharedBottom

        return SharedBottom(self, num_features, tasks, batch_mean)


class SingleTaskConfig(ExpertConfig):
    """Sizes of each task's network: `expert_hidden`, `expert_dim`, then `tower_hidden`."""

    kind: Literal["single_task"] = "single_task"
    """Which tower this is."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> SingleTask:
        """The tower [B, num_features] -> [B, len(tasks)], its weights not yet filled.

        Raises:
            ValueError: tasks that are missing or ambiguous, or no features.
        """
        from models.towers.single_task import SingleTask

        return SingleTask(self, num_features, tasks, batch_mean)


TowerConfig = Annotated[
    HomeConfig | MmoeConfig | PleConfig | AdattConfig | SharedBottomConfig | SingleTaskConfig,
    Field(discriminator="kind"),
]
"""The config of a tower, told apart by `kind`; each has build(num_features, tasks, batch_mean)."""
