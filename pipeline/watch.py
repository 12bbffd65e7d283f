"""Why a run ends before its time: a signal, or a model that is no longer finite."""

from __future__ import annotations

import signal
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
    """Stops every rank at the same step for a signal to any, and knows the batches in flight."""

    def __init__(self, world: World, source: BatchSource) -> None:
        self._source = source
        self._flags = Flags(world, 1)
        self.in_flight: deque[Batch] = deque()
        self._origins: deque[tuple[int, int]] = deque()  # epoch and batch of those in flight
        self.stopping = False

    def feed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """`batches`, ending early once the ranks have agreed to stop."""
        for batch in batches:
            self._origins.append((self._source.epoch, self._source.step - 1))
            self.in_flight.append(batch)
            yield batch
            if self.stopping:
                return

    def where(self) -> str:
        """Where the batch of the step just done, or under way, comes from."""
        epoch, batch = self._origins[0]
        if epoch == self._source.epoch:
            return self._source.describe(batch)
        return f"epoch {epoch}, batch {batch}"

    def after(self, *, stop: bool) -> None:
        """After each step: learn what was posted after the last one, post this one's."""
        self.settle()
        self._origins.popleft()
        self.in_flight.popleft()
        self._flags.post([int(stop)])

    def settle(self) -> None:
        """Act on what was posted last."""
        (stop,) = self._flags.read()
        self.stopping = self.stopping or bool(stop)


@dataclass
class _Request:
    received: bool = False
    old: dict[int, Any] = field(default_factory=dict)


@contextmanager
def stop_requests() -> Iterator[_Request]:
    """SIGTERM and SIGINT are noted, not obeyed at once; a second one acts as it always did."""
    request = _Request()

    def note(number: int, frame: object) -> None:
        request.received = True
        signal.signal(number, request.old[number])

    numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
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
