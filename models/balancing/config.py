"""The balances of tasks one can choose from. No torch here: build() imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from models.balancing.balance import Fixed
    from models.balancing.global_batch import GlobalBatch
    from models.balancing.gradnorm import GradNorm
    from models.balancing.pcgrad import PcGrad
    from models.balancing.uncertainty import Uncertainty


class FixedConfig(BaseModel):
    """Weights that stay as they are given: `loss.task_weights`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["fixed"] = "fixed"
    """Which balance of tasks this is."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> Fixed:
        from models.balancing.balance import Fixed

        return Fixed(task_weights)


class UncertaintyConfig(BaseModel):
    """Learnt weights; it has no settings: the dense optimizer trains the log-variances."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["uncertainty"] = "uncertainty"
    """Which balance of tasks this is."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> Uncertainty:
        from models.balancing.uncertainty import Uncertainty

        return Uncertainty(len(task_weights))


class GradNormConfig(BaseModel):
    """Weights that even out how fast tasks learn. A step costs one backward pass more a task."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    kind: Literal["gradnorm"] = "gradnorm"
    """Which balance of tasks this is."""
    alpha: float = Field(1.5, ge=0)
    """How much more gradient a task gets that lags behind; 0: all tasks the same."""
    lr: float = Field(0.025, gt=0, lt=1)
    """Learning rate of the weights, of which the mean is 1."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> GradNorm:
        from models.balancing.gradnorm import GradNorm

        return GradNorm(self, len(task_weights), batch)


class PcGradConfig(BaseModel):
    """Projects conflicting gradients. A step costs one backward pass more a task, and a mean over
    ranks of as many gradients of the tower."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["pcgrad"] = "pcgrad"
    """Which balance of tasks this is."""

    def build(self, task_weights: Sequence[float], seed: int, batch: GlobalBatch) -> PcGrad:
        from models.balancing.pcgrad import PcGrad

        return PcGrad(task_weights, seed, batch)


BalanceConfig = Annotated[
    FixedConfig | UncertaintyConfig | GradNormConfig | PcGradConfig, Field(discriminator="kind")
]
"""The config of a balance, told apart by `kind`."""
