"""Prevents checkpoints of non-finite weights."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torchrec.distributed.types import ShardedTensor

from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.hooks import Hook

REMEDY = "lower --dense.lr or --sparse.lr, then continue with --resume auto"


class FiniteWeights(Hook):
    """Stops the run before non-finite weights are saved."""

    def __init__(self, model: nn.Module, world: World) -> None:
        self._model, self._world = model, world

    def after_segment(self, step: int) -> None:
        check_finite(self._model, step, self._world)


def check_finite(model: nn.Module, step: int, world: World) -> None:
    """Raise UserError on all ranks if a weight on any of them is not finite.

    The loss of a step is that of the weights before its update. A bad update would be detected only
    by the next step, after a save.
    """
    bad = ""
    for name, value in model.state_dict().items():
        local = value.local_shards() if isinstance(value, ShardedTensor) else None
        tensors = [value] if local is None else [shard.tensor for shard in local]
        if not all(bool(torch.isfinite(tensor.sum(dtype=torch.float64))) for tensor in tensors):
            bad = name
            break
    names = [""] * world.size
    dist.all_gather_object(names, bad, group=world.control)
    for rank, name in enumerate(names):
        if name:
            raise UserError(
                f"step {step}: weights {name} are not finite on rank {rank}; "
                f"not saved, the last checkpoint is from before; {REMEDY}"
            )
