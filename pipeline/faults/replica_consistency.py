"""Checks that replicated tensors are bitwise equal on all ranks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.types import ShardedTensor
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class ReplicaConsistency(Hook):
    """Checks every `every` steps; 0: never."""

    def __init__(
        self, model: nn.Module, optimizer: CombinedOptimizer, world: World, every: int
    ) -> None:
        self._model, self._optimizer, self._world, self._every = model, optimizer, world, every

    def needs_verdict(self, step: int) -> bool:
        return self._every > 0 and step % self._every == 0

    def after_step(self, step: int, output: StepOutput) -> None:
        if self.needs_verdict(step) and not output.skipped:
            check_replicas(self._model, self._optimizer, step, self._world)


@torch.no_grad()
def check_replicas(model: nn.Module, optimizer: CombinedOptimizer, step: int, world: World) -> None:
    """Raise UserError on all ranks if a replicated tensor differs from rank 0's on any.

    Checks the tower, replicated tables and their optimizer state; NaNs are equal. Running
    statistics of batch norms are excluded, because they may differ between checkpoints.
    """
    if world.size == 1:
        return
    for name, tensor in _replicated(model, optimizer):
        mine = tensor.detach().contiguous().view(-1)
        first = mine.clone()
        dist.broadcast(first, src=0)
        differs = mine.view(torch.uint8) != first.view(torch.uint8)
        at = -1
        if bool(differs.any()):
            at = int(differs.nonzero()[0]) // mine.element_size()
        mine_differs = (at, float(mine[at]), float(first[at])) if at >= 0 else None
        differences: list[tuple[int, float, float] | None] = [None] * world.size
        # One exchange per tensor would be slow, so gather positions only if there are differences.
        flag = torch.tensor(int(at >= 0))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=world.control)
        if not int(flag):
            continue
        dist.all_gather_object(differences, mine_differs, group=world.control)
        ranks = [rank for rank, found in enumerate(differences) if found]
        place, value, value_0 = next(found for found in differences if found)
        index = [int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape)]
        raise UserError(
            f"step {step}: {name} differs between ranks: rank {', '.join(map(str, ranks))} from "
            f"rank 0, first at {index} by {abs(value - value_0):.6g} ({value:.9g}, rank 0 "
            f"{value_0:.9g}); resume from the last checkpoint with --resume auto, and check the "
            "hardware and code that differs between ranks"
        )


def _replicated(model: nn.Module, optimizer: CombinedOptimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield names and tensors in the same order on every rank."""
    state = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}
    for name, value in state.items():
        if name not in buffers and type(value) is not ShardedTensor and isinstance(value, Tensor):
            yield name, value
    for part, keyed in optimizer.optimizers:
        if part == "fused":  # belongs to shards
            continue
        for parameter, values in keyed.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    yield f"optimizer {part}: {parameter}: {key}", value
