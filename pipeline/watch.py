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

_REMEDY = "lower --dense.lr or --sparse.lr, then go on with --resume"


class Watch:
    """Stops every rank at the same step, for a signal to any or a save that is due, and knows the
    batches in flight."""

    def __init__(self, world: World, source: BatchSource) -> None:
        self._source = source
        self._flags = Flags(world, 2)
        self.in_flight: deque[Batch] = deque()
        self._origins: deque[tuple[int, int]] = deque()  # epoch and batch of those in flight
        self.stopping = False
        self.save_due = False
        """Whether a checkpoint is to be saved now, or the last save's failure to be told."""

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks have agreed to stop or to save."""
        for batch in batches:
            self._origins.append((self._source.epoch, self._source.step - 1))
            self.in_flight.append(batch)
            yield batch
            if self.stopping or self.save_due:
                return

    def where(self) -> str:
        """Where the batch of the step just done, or under way, comes from."""
        epoch, batch = self._origins[0]
        if epoch == self._source.epoch:
            return self._source.describe(batch)
        return f"epoch {epoch}, batch {batch}"

    def after(self, *, stop: bool, save: bool) -> None:
        """After each step: learn what was posted after the last one, post this one's."""
        self.settle()
        self._origins.popleft()
        self.in_flight.popleft()
        self._flags.post([int(stop), int(save)])

    def settle(self) -> None:
        """Act on what was posted last."""
        stop, save = self._flags.read()
        self.stopping = self.stopping or bool(stop)
        self.save_due = self.save_due or bool(save)


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

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    for number in numbers:
        request.old[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number in numbers:
            signal.signal(number, request.old[number])


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
