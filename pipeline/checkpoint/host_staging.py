"""Stages a run's tensors in host memory, so that training continues during a save."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed._state_dict_utils import _copy_state_dict, _create_cpu_state_dict
from torch.distributed.checkpoint.staging import AsyncStager


class HostStaging:
    """Copies the same tensors to the same memory each time: new pages cost more than a copy.

    torch's DefaultStager also reuses its memory, but cannot copy a ShardedTensor (torch 2.13);
    BlockingAsyncStager can, but only to pinned memory, which needs a GPU.
    """

    def __init__(self) -> None:
        self.staged: dict[str, Any] | None = None
        """The last copy."""

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        """Copy `state`, overwriting the previous copy."""
        if self.staged is None:
            # Pinned memory avoids an intermediate copy on GPUs. Not tested on GPUs yet.
            self.staged = _create_cpu_state_dict(state, pin_memory=torch.cuda.is_available())
        copied: dict[str, Any] = _copy_state_dict(state, self.staged)
        return copied


class PreStaged(AsyncStager):
    """Stager for a state dict that is already a copy."""

    _synchronize_after_execute = False

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return state_dict

    def synchronize_staging(self) -> None:
        return None

    def close(self) -> None:
        return None
