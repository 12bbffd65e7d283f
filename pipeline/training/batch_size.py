"""Rows per step on any number of ranks, and the corresponding learning rates.

A job that lost a machine continues with fewer ranks. It keeps its global batch: each rank takes
more rows. With train.base_world_size, the rows per rank are constant, the global batch scales with
the number of ranks, and train.scale_lr scales the learning rates. Both optimizers are adaptive, for
which square-root scaling applies (Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive
Gradient Algorithms).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.sections import TrainConfig
from pipeline.io.errors import UserError

_POWER = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class BatchSizes:
    """What a step is made of.

    Attributes:
        per_rank: rows of each rank.
        share: rows per step / train.batch_size: the advance of one step in the schedule.
        rate: factor on both learning rates.
    """

    per_rank: int
    share: float
    rate: float


def batch_sizes(config: TrainConfig, ranks: int) -> BatchSizes:
    """Compute the step for `ranks` ranks. If they do not divide the rows, each rank rounds them.

    Raises:
        UserError: fewer rows than ranks; or train.base_world_size does not divide train.batch_size.
    """
    if config.base_world_size and config.batch_size % config.base_world_size:
        raise UserError(
            f"train.batch_size: {config.batch_size} rows are not divisible by "
            f"train.base_world_size {config.base_world_size}; use a multiple"
        )
    shared_by = config.base_world_size or ranks
    per_rank = int(config.batch_size / shared_by + 0.5)
    if config.batch_size < shared_by:
        raise UserError(
            f"train.batch_size: {config.batch_size} rows are fewer than {shared_by} ranks; use "
            "more rows or fewer ranks"
        )
    share = per_rank * ranks / config.batch_size
    power = _POWER[config.scale_lr] if config.base_world_size else 0.0
    return BatchSizes(per_rank=per_rank, share=share, rate=share**power)
