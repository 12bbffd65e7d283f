"""Configuration of task balancing. Does not import torch: build() imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.frozen import Frozen

if TYPE_CHECKING:
    from models.balancing.balance import Fixed
    from models.balancing.global_batch import GlobalBatch
    from models.balancing.gradnorm import GradNorm
    from models.balancing.pcgrad import PcGrad
    from models.balancing.uncertainty import Uncertainty


class FixedConfig(Frozen):
    """A weighted sum with the constant weights `loss.task_weights`."""

    kind: Literal["fixed"] = "fixed"
    """Type of the balance."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> Fixed:
        from models.balancing.balance import Fixed

        return Fixed(task_weights)


class UncertaintyConfig(Frozen):
    """Uncertainty weighting (Kendall et al. 2018). The dense optimizer trains one log-variance per
    task."""

    kind: Literal["uncertainty"] = "uncertainty"
    """Type of the balance."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> Uncertainty:
        from models.balancing.uncertainty import Uncertainty

        return Uncertainty(len(task_weights))


class GradNormConfig(Frozen):
    """GradNorm (Chen et al. 2018): weights that balance how fast tasks learn. Costs one additional
    backward pass per task and step."""

    kind: Literal["gradnorm"] = "gradnorm"
    """Type of the balance."""
    alpha: float = Field(1.5, ge=0)
    """Strength with which slower tasks get larger gradients; 0: equal gradients for all tasks."""
    lr: float = Field(0.025, gt=0, lt=1)
    """Learning rate of the weights, whose mean is 1."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> GradNorm:
        from models.balancing.gradnorm import GradNorm

        return GradNorm(self, len(task_weights), batch)


class PcGradConfig(Frozen):
    """PCGrad (Yu et al. 2020): projects conflicting gradients. Costs one additional backward pass
    and one all-reduce of the tower's gradient per task and step."""

    kind: Literal["pcgrad"] = "pcgrad"
    """Type of the balance."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> PcGrad:
        from models.balancing.pcgrad import PcGrad

        return PcGrad(task_weights, seed, batch)


BalanceConfig = Annotated[
    FixedConfig | UncertaintyConfig | GradNormConfig | PcGradConfig, Field(discriminator="kind")
]
"""The configuration of a balance, discriminated by `kind`."""
