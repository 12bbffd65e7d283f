"""A copy of a run's tensors in host memory, to be written while training changes the tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed._state_dict_utils import _copy_state_dict, _create_cpu_state_dict
from torch.distributed.checkpoint.staging import AsyncStager


class HostCopy(AsyncStager):
    """Copies into the same memory each time: fresh pages would cost more than the copy does.

    One save at a time, always of the same tensors. torch's DefaultStager keeps its memory too, but
    cannot copy a ShardedTensor (torch 2.13); BlockingAsyncStager keeps it in pinned memory alone,
    which needs a GPU.
    """

    _synchronize_after_execute = False

    def __init__(self) -> None:
        self._copy: dict[str, Any] | None = None

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        if self._copy is None:
            # Pinned: a GPU copies without a stop over in other memory. No GPU has run this yet.
            self._copy = _create_cpu_state_dict(state_dict, pin_memory=torch.cuda.is_available())
        copied: dict[str, Any] = _copy_state_dict(state_dict, self._copy)
        return copied

    def synchronize_staging(self) -> None:
        return None  # the copy is made when `stage` returns

    def close(self) -> None:
        self._copy = None
