"""Configuration of towers. Does not import torch: build() imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from models.layers.config import Activation, ExpertConfig, Normalization, Width

if TYPE_CHECKING:
    from models.layers.norm import BatchMean
    from models.tasks import Task
    from models.towers.adatt import AdaTT
    from models.towers.home import HoME
    from models.towers.mmoe import MMoE
    from models.towers.ple import PLE
    from models.towers.rankmixer import RankMixer
    from models.towers.shared_bottom import SharedBottom
    from models.towers.single_task import SingleTask
    from models.towers.smes import SMES


class HomeConfig(ExpertConfig):
    """HoME (Wang et al. 2025), with a switch for each of its mechanisms."""

    kind: Literal["home"] = "home"
    """Type of the tower."""
    num_meta_experts: int = Field(2, ge=1, le=1024)
    """Level-1 experts in each group: the shared group, and one group per category."""
    num_global_experts: int = Field(2, ge=1, le=1024)
    """Level-2 experts shared by all tasks."""
    num_category_experts: int = Field(2, ge=1, le=1024)
    """Level-2 experts per category, shared by its tasks."""
    num_task_specific_experts: int = Field(1, ge=1, le=1024)
    """Level-2 experts per task."""
    normalization: Normalization = "batch"
    """Normalization in each expert layer: over the global batch, over the layer, or none. Counters
    expert collapse, with `activation`."""
    activation: Activation = "swish"
    """Activation after each layer of experts and task towers, except before the logit."""
    hierarchy_mask: bool = True
    """Whether a task's level-2 gate uses only the global experts, those of its category and its
    task-specific ones, instead of all level-2 experts. Counters expert degradation."""
    feature_gate_1: bool = True
    """Whether level-1 experts have private soft masks on their inputs. Counters expert
    underfitting, with `feature_gate_2` and `self_gate`."""
    feature_gate_2: bool = True
    """Whether level-2 experts have private soft masks on their inputs."""
    feature_gate_per: Literal["expert", "group"] = "expert"
    """Owner of a feature gate: each expert, or each group of experts."""
    num_masks: int = Field(2, ge=1, le=1024)
    """Number of low-rank masks per feature gate."""
    mask_rank: Width = 16
    """Rank of these masks."""
    self_gate: bool = True
    """Whether a group has a second gate over its own experts only, without competition from other
    groups."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> HoME:
        from models.towers.home import HoME

        return HoME(self, num_features, tasks, batch_mean)


class MmoeConfig(ExpertConfig):
    """MMoE (Ma et al. 2018); MMoE* with normalization 'batch' and activation 'swish'."""

    kind: Literal["mmoe"] = "mmoe"
    """Type of the tower."""
    num_experts: int = Field(6, ge=1, le=1024)
    """Number of experts, shared by all tasks."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> MMoE:
        from models.towers.mmoe import MMoE

        return MMoE(self, num_features, tasks, batch_mean)


class PleConfig(ExpertConfig):
    """PLE (Tang et al. 2020); PLE* with normalization 'batch' and activation 'swish'."""

    kind: Literal["ple"] = "ple"
    """Type of the tower."""
    num_levels: int = Field(2, ge=1, le=1024)
    """Levels of experts; 1: CGC."""
    num_shared_experts: int = Field(2, ge=1, le=1024)
    """Shared experts per level."""
    num_task_specific_experts: int = Field(1, ge=1, le=1024)
    """Experts per level and task."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> PLE:
        from models.towers.ple import PLE

        return PLE(self, num_features, tasks, batch_mean)


class AdattConfig(ExpertConfig):
    """AdaTT (Li et al. 2023), with the defaults of the authors' repository."""

    kind: Literal["adatt"] = "adatt"
    """Type of the tower."""
    num_levels: int = Field(2, ge=1, le=1024)
    """Levels of experts."""
    num_task_specific_experts: int = Field(1, ge=1, le=1024)
    """Experts per level and task."""
    num_shared_experts: int = Field(1, ge=0, le=1024)
    """Shared experts per level; 0: AdaTT-sp."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> AdaTT:
        from models.towers.adatt import AdaTT

        return AdaTT(self, num_features, tasks, batch_mean)


class SmesConfig(ExpertConfig):
    """SMES (Zhang et al. 2026): each row runs few of many experts."""

    kind: Literal["smes"] = "smes"
    """Type of the tower."""
    num_experts: int = Field(16, ge=1, le=1024)
    """Number of experts, shared by all tasks."""
    shared_top_k: int = Field(2, ge=0, le=1024)
    """Experts chosen for all tasks of a row, by the sum of their routing weights."""
    task_top_k: int = Field(1, ge=0, le=1024)
    """Experts that each task of a row chooses among the others."""
    load_balancing_weight: float = Field(0.01, ge=0)
    """Weight of the load-balancing loss over all tasks."""
    normalization: Literal["layer", "none"] = "none"
    """Normalization in each expert layer: over the layer, or none. Statistics of a batch would mix
    rows that run the expert with others."""

    @model_validator(mode="after")
    def _enough_experts(self) -> Self:
        chosen = self.shared_top_k + self.task_top_k
        if not 1 <= chosen <= self.num_experts:
            raise ValueError(
                f"shared_top_k {self.shared_top_k} and task_top_k {self.task_top_k} add up to "
                f"{chosen}; choose 1 to num_experts ({self.num_experts})"
            )
        return self

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> SMES:
        from models.towers.smes import SMES

        return SMES(self, num_features, tasks, batch_mean)


class RankMixerConfig(ExpertConfig):
    """RankMixer (Zhu et al. 2025): tokens of features, and a token for each task."""

    kind: Literal["rankmixer"] = "rankmixer"
    """Type of the tower."""
    num_tokens: int = Field(8, ge=1, le=1024)
    """Tokens, each made of an equal part of the features."""
    num_layers: int = Field(2, ge=1, le=1024)
    """Layers that mix tokens and run a network for each."""
    expert_hidden: tuple[Width, ...] = (256,)
    """Widths of the hidden layers of a token's network."""
    expert_dim: Width = 128
    """Width of a token, a multiple of `num_tokens`."""
    normalization: Literal["layer"] = "layer"
    """Normalization after each sum of a token and its update."""
    activation: Activation = "swish"
    """Activation after the hidden layers of networks and task towers."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.expert_dim % self.num_tokens:
            raise ValueError(
                f"expert_dim {self.expert_dim} is no multiple of num_tokens {self.num_tokens}; "
                f"take {-(-self.expert_dim // self.num_tokens) * self.num_tokens}"
            )
        return self

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> RankMixer:
        from models.towers.rankmixer import RankMixer

        return RankMixer(self, num_features, tasks)


class SharedBottomConfig(ExpertConfig):
    """One network for all tasks (`expert_hidden`, `expert_dim`), then a tower for each."""

    kind: Literal["shared_bottom"] = "shared_bottom"
    """Type of the tower."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> SharedBottom:
        from models.towers.shared_bottom import SharedBottom

        return SharedBottom(self, num_features, tasks, batch_mean)


class SingleTaskConfig(ExpertConfig):
    """One network per task: `expert_hidden`, `expert_dim`, then `tower_hidden`."""

    kind: Literal["single_task"] = "single_task"
    """Type of the tower."""

    def build(
        self, *, num_features: int, tasks: Sequence[Task], batch_mean: BatchMean | None = None
    ) -> SingleTask:
        from models.towers.single_task import SingleTask

        return SingleTask(self, num_features, tasks, batch_mean)


TowerConfig = Annotated[
    HomeConfig
    | MmoeConfig
    | PleConfig
    | AdattConfig
    | SmesConfig
    | RankMixerConfig
    | SharedBottomConfig
    | SingleTaskConfig,
    Field(discriminator="kind"),
]
"""The configuration of a tower, discriminated by `kind`.

`build` of each makes the tower [B, num_features] -> [B, len(tasks)], its weights not yet filled. It
raises ValueError for tasks that are missing or ambiguous, or no features.
"""
