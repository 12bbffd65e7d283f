"""What a tower costs, and towers of other widths that cost as much as another."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.layers.feature_gates import FeatureGates
from models.layers.gates import Gates
from models.layers.linear import StackedLinear
from models.tasks import Task
from models.towers.config import TowerConfig
from models.towers.level import Level

MULTIPLE = 4
"""Widths that `matched` gives are multiples of this, which vector units like."""
TOLERANCE = 0.2
"""Relative distance from the target beyond which `matched` gives up."""
_HALVINGS = 60
"""More than the bits of a float: no two configurations lie between the last two factors."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a tower alone, without embeddings."""

    parameters: int
    """Elements of all weights."""
    flops: int
    """Floating-point operations of matrix products for one row, forward and backward.

    A multiplication and an addition count as two. Activations, normalisation and masks are not
    counted, nor is what the chunked layers of models/layers/fused.py compute twice to save memory.
    """


def cost(config: TowerConfig, num_features: int, tasks: Sequence[Task]) -> Cost:
    """What a row costs in training, the gradient of its features included. Allocates nothing.

    Raises:
        ValueError: tasks that are missing or ambiguous, or no features.
    """
    with torch.device("meta"):
        tower = config.build(num_features=num_features, tasks=tasks)
    # Backward has two products of the same size for each: the gradients of its two factors.
    multiplications = 3 * sum(_multiplications(part, config) for part in tower.modules())
    return Cost(
        parameters=sum(parameter.numel() for parameter in tower.parameters()),
        flops=2 * multiplications,
    )


def _multiplications(part: nn.Module, config: TowerConfig) -> int:
    """Those of one row's forward in a part, without the parts of that part.

    The tests hold the sum equal to what torch's FlopCounterMode sees, for every kind of tower;
    it is some fifty times faster, as a meta tensor's operations are Python.
    """
    if isinstance(part, StackedLinear):
        return part.weight.numel()
    if isinstance(part, FeatureGates):
        return part.up.numel()
    if isinstance(part, Gates):  # with the zeros for inputs that a gate does not read
        return len(part.logit_cells) * part.num_inputs * part.weight.shape[1]
    if isinstance(part, Level):
        return len(part.mixtures) * len(part.experts.names) * config.expert_dim
    return 0


def scaled(config: TowerConfig, factor: float) -> TowerConfig:
    """`config` with the widths of experts and task towers times `factor`, as `matched` rounds."""

    def width(of: int) -> int:
        return max(1, round(of * factor / MULTIPLE)) * MULTIPLE

    return config.model_copy(
        update={
            "expert_hidden": tuple(width(of) for of in config.expert_hidden),
            "expert_dim": width(config.expert_dim),
            "tower_hidden": tuple(width(of) for of in config.tower_hidden),
        }
    )


def matched(
    config: TowerConfig,
    target: Cost,
    by: Literal["params", "flops"],
    num_features: int,
    tasks: Sequence[Task],
) -> TowerConfig:
    """`config` with its widths scaled by one factor so that it costs as near to `target` as can be.

    Widths are `expert_hidden`, `expert_dim` and `tower_hidden`, rounded to multiples of 4, at
    least 4; numbers of experts, masks and levels stay. Cost grows with the factor, so that
    halving an interval finds the two configurations on either side of the target. Of two that
    are equally near, it is the cheaper one.

    Raises:
        ValueError: nothing comes within 20 % of the target; or as for `cost`.
    """
    aim = target.parameters if by == "params" else target.flops

    @functools.cache
    def of(candidate: TowerConfig) -> int:
        found = cost(candidate, num_features, tasks)
        return found.parameters if by == "params" else found.flops

    def costs(factor: float) -> int:
        return of(scaled(config, factor))

    low, high = 0.0, 1.0
    while costs(high) < aim:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if costs(middle) < aim:
            low = middle
        else:
            high = middle
    nearest = min((low, high), key=lambda factor: abs(costs(factor) - aim))
    if abs(costs(nearest) - aim) > TOLERANCE * aim:
        unit = "parameters" if by == "params" else "FLOPs a sample"
        raise ValueError(
            f"{config.kind}: no widths come within {TOLERANCE:.0%} of {aim:,} {unit}; "
            f"the nearest have {costs(nearest):,}"
        )
    return scaled(config, nearest)
