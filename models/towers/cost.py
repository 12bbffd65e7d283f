"""Computes the cost of a tower, and scales towers to match a given cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.layers.feature_gates import FeatureGates
from models.layers.gates import Gates
from models.layers.linear import StackedLinear
from models.tasks import Task
from models.towers.config import RankMixerConfig, TowerConfig
from models.towers.level import Level
from models.towers.rankmixer import RankMixer
from models.towers.smes import RoutedExperts

MULTIPLE = 4
"""`matched` returns widths that are multiples of this, for efficient vectorization."""
TOLERANCE = 0.2
"""Relative distance from the target beyond which `matched` gives up."""
_HALVINGS = 60
"""More than the bits of a float, so that the interval contains no other configuration."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a tower, without embeddings."""

    parameters: int
    """Number of elements of all weights."""
    flops: int
    """Floating-point operations of matrix products for one row, forward and backward.

    A multiplication and an addition count as two. Of SMES's experts, the largest number that a row
    can run is counted; it runs fewer if tasks choose the same. Activations, normalization, masks,
    and recomputation in the chunked layers of models/layers/fused/ are not counted.
    """


def cost(config: TowerConfig, num_features: int, tasks: Sequence[Task]) -> Cost:
    """Return the training cost per row, including the gradient of the features. Allocates nothing.

    Raises:
        ValueError: missing or ambiguous tasks, or no features.
    """
    with torch.device("meta"):
        tower = config.build(num_features=num_features, tasks=tasks)
    # Backward has two products of the same size for each, for the gradients of its two factors.
    multiplications = 3 * sum(_multiplications(part, config) for part in tower.modules())
    return Cost(
        parameters=sum(parameter.numel() for parameter in tower.parameters()),
        flops=2 * multiplications,
    )


def _multiplications(part: nn.Module, config: TowerConfig) -> int:
    """Return the forward FLOPs per row of a module, without its submodules.

    Tests compare the sum with torch's FlopCounterMode for every kind of tower. This is about fifty
    times faster, because operations on meta tensors run in Python.
    """
    if isinstance(part, StackedLinear):
        return part.weight.numel()
    if isinstance(part, FeatureGates):
        return part.up.numel()
    if isinstance(part, Gates):  # including zeros for unused inputs
        return len(part.logit_cells) * part.num_inputs * part.weight.shape[1]
    if isinstance(part, Level):
        return len(part.mixtures) * len(part.experts.names) * config.expert_dim
    if isinstance(part, RoutedExperts):  # less those of experts that a row does not run
        num_experts, num_tasks = len(part.experts.names), len(part.tasks)
        idle = num_experts - part.most_experts
        linears = [each for each in part.experts.modules() if isinstance(each, StackedLinear)]
        weights = sum(linear.weight.numel() // num_experts for linear in linears)
        return num_tasks * num_experts * config.expert_dim - idle * weights
    if isinstance(part, RankMixer):  # scores of tokens, and their mixtures
        return 2 * part.config.num_tokens * part.queries.numel()
    return 0


def scaled(config: TowerConfig, factor: float) -> TowerConfig:
    """Return `config` with expert and task tower widths times `factor`, rounded as in `matched`."""

    def width(of: int, multiple: int = MULTIPLE) -> int:
        return max(1, round(of * factor / multiple)) * multiple

    heads = config.num_tokens if isinstance(config, RankMixerConfig) else 1

    return config.model_copy(
        update={
            "expert_hidden": tuple(width(of) for of in config.expert_hidden),
            "expert_dim": width(config.expert_dim, math.lcm(MULTIPLE, heads)),
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
    """Scale the widths of `config` by one factor to match the cost `target` as closely as possible.

    Widths are `expert_hidden`, `expert_dim` and `tower_hidden`, rounded to multiples of 4, at
    least 4 (the width of RankMixer's tokens also to a multiple of their number); numbers of
    experts, masks and levels do not change. Cost increases with the factor, so bisection finds the
    configurations on either side of the target. Among two that are equally close, the cheaper one
    is returned.

    Raises:
        ValueError: no widths are within 20% of the target; or as for `cost`.
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
        unit = "parameters" if by == "params" else "FLOPs per sample"
        raise ValueError(
            f"{config.kind}: no widths are within {TOLERANCE:.0%} of {aim:,} {unit}; "
            f"the closest have {costs(nearest):,}"
        )
    return scaled(config, nearest)
