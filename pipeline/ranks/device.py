"""What differs between CPU and CUDA: reading a value late, and time. Not tested on GPUs yet."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """A copy of `x` on the host. Waits for the device when it is read, not before.

    Nobody may write to `x` afterwards.
    """

    def __init__(self, x: Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        self._copy = x
        if x.is_cuda:
            self._copy = torch.empty_like(x, device="cpu", pin_memory=True)
            self._copy.copy_(x, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def tolist(self) -> Any:
        if self._done is not None:
            self._done.synchronize()
        return self._copy.tolist()


class Instant:
    """When the device reaches this point: by the clock on CPU, by an event on CUDA, where calls
    return before the device is done."""

    def __init__(self, device: torch.device) -> None:
        self._time = time.perf_counter()
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record()

    def seconds_until(self, later: Instant) -> float:
        """Waits until the device has reached `later`."""
        if self._event is None or later._event is None:
            return later._time - self._time
        later._event.synchronize()
        return self._event.elapsed_time(later._event) / 1e3
