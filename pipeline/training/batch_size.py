"""Rows of a step on any number of ranks, and the learning rates that go with them.

A job that lost a machine continues with fewer ranks. It keeps its global batch: each rank takes
more rows. With train.base_world_size, each rank's rows stay, the global batch scales with the
ranks, and learning rates with it by train.scale_lr. Both optimizers are adaptive, and for those the
root of the batch is the rule (Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive
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
        share: rows of a step over train.batch_size: how far one step moves along the schedule.
        rate: factor on both learning rates.
    """

    per_rank: int
    share: float
    rate: float


def batch_sizes(config: TrainConfig, ranks: int) -> BatchSizes:
    """For `ranks` ranks. Where they do not divide the rows, each takes the nearest whole number.

    Raises:
        UserError: fewer rows than ranks; or train.base_world_size does not divide train.batch_size.
    """
    if config.base_world_size and config.batch_size % config.base_world_size:
        raise UserError(
            f"train.batch_size: {config.batch_size} rows do not divide by train.base_world_size "
            f"{config.base_world_size}; take a multiple"
        )
    shared_by = config.base_world_size or ranks
    per_rank = int(config.batch_size / shared_by + 0.5)
    if config.batch_size < shared_by:
        raise UserError(
            f"train.batch_size: {config.batch_size} rows are fewer than {shared_by} ranks; take "
            "more rows or fewer ranks"
        )
    share = per_rank * ranks / config.batch_size
    power = _POWER[config.scale_lr] if config.base_world_size else 0.0
    return BatchSizes(per_rank=per_rank, share=share, rate=share**power)
