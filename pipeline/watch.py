"""Why a run pauses or ends before its time: a save is due, a signal, a loss not finite."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torchrec.distributed.types import ShardedTensor

from pipeline.batch import Batch
from pipeline.data.parquet import BatchSource
from pipeline.distributed import Flags, World
from pipeline.errors import UserError
from pipeline.step import StepOutput

_REMEDY = "lower --dense.lr or --sparse.lr, then go on with --resume"


class Watch:
    """Stops every rank at the same step: for a signal to any, a save that is due, a bad loss."""

    def __init__(self, world: World, tasks: list[str], source: BatchSource) -> None:
        self._world = world
        self._tasks = tasks
        self._source = source
        self._flags = Flags(world, 3)
        self._origins: deque[tuple[int, int]] = deque()  # epoch and batch of those in flight
        self._bad: list[str] = []
        self.stopping = False
        self.save_due = False
        """Whether a checkpoint is to be saved now, or the last save's failure to be told."""

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks have agreed to stop or to save."""
        for batch in batches:
            self._origins.append((self._source.epoch, self._source.step - 1))
            yield batch
            if self.stopping or self.save_due:
                return

    def after(self, step: int, output: StepOutput, *, stop: bool, save: bool) -> None:
        """After each step: learn what was posted after the last one, post this one's."""
        self.settle()
        origin = self._origins.popleft()
        bad = not bool(torch.isfinite(output.losses_T).all())
        if bad:
            self._bad.append(self._sentence(step, origin, output.losses_T))
        self._flags.post([int(stop), int(bad), int(save)])

    def settle(self) -> None:
        """Act on what was posted last. Raises UserError on all ranks for a bad loss on any."""
        stop, bad, save = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        self.save_due = self.save_due or bool(save)
        if not bad:
            return
        all_ranks: list[list[str]] = [[] for _ in range(self._world.size)]
        dist.all_gather_object(all_ranks, self._bad, group=self._world.control)
        raise UserError(next(lines[0] for lines in all_ranks if lines))

    def _sentence(self, step: int, origin: tuple[int, int], losses_T: torch.Tensor) -> str:
        epoch, batch = origin
        if epoch == self._source.epoch:
            where = self._source.describe(batch)
        else:
            where = f"epoch {epoch}, batch {batch}"
        named = ", ".join(
            f"{task} {loss}"
            for task, loss in zip(self._tasks, losses_T.tolist(), strict=True)
            if not torch.isfinite(torch.tensor(loss))
        )
        return (
            f"step {step}: loss is not finite on rank {self._world.rank}: {named}; "
            f"batch: {where}; look at these rows, or {_REMEDY}"
        )


@dataclass
class _Request:
    received: bool = False
    first: dict[int, float] = field(default_factory=dict)
    """When the first of each kind came, by time.monotonic."""
    old: dict[int, Any] = field(default_factory=dict)


# Slurm signals every process of a job, torchrun among them, which passes the signal on: under an
# agent a rank gets each twice. Within this many seconds it is the same one.
_SAME_S = 5.0


@contextmanager
def stop_requests() -> Iterator[_Request]:
    """SIGTERM, SIGINT and SIGUSR1 are noted, not obeyed at once; a second of a kind acts as ever.

    Of a kind: Slurm's warning (SIGUSR1) may be followed by its SIGTERM while the ranks still save.
    """
    request = _Request()
    same_s = _SAME_S if "TORCHELASTIC_RUN_ID" in os.environ else 0.0

    def note(number: int, frame: object) -> None:
        now = time.monotonic()
        request.received = True
        if number not in request.first:
            request.first[number] = now
        elif now - request.first[number] >= same_s:
            signal.signal(number, request.old[number])
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        request.old[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in request.old.items():
            signal.signal(number, handler)


def check_finite(model: nn.Module, step: int, world: World) -> None:
    """Raise UserError on all ranks if a weight on any of them is not finite.

    A step's loss is that of the weights before it: its update may have been the one too many, and
    would be found out only by the next step, after a save.
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
                f"not saved, the last checkpoint is from before; {_REMEDY}"
            )
