"""A copy of a run's tensors in host memory, to be written while training changes the tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed._state_dict_utils import _copy_state_dict, _create_cpu_state_dict
from torch.distributed.checkpoint.staging import AsyncStager


class HostCopy:
    """Copies into the same memory each time: fresh pages would cost more than the copy does.

    One save at a time, always of the same tensors. torch's DefaultStager keeps its memory too, but
    cannot copy a ShardedTensor (torch 2.13); BlockingAsyncStager keeps it in pinned memory alone,
    which needs a GPU.
    """

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        """What was copied last."""

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        """`state` as it is now. The one before is gone."""
        if self.held is None:
            # Pinned: a GPU copies without a stop over in other memory. No GPU has run this yet.
            self.held = _create_cpu_state_dict(state, pin_memory=torch.cuda.is_available())
        copied: dict[str, Any] = _copy_state_dict(state, self.held)
        return copied


class Copied(AsyncStager):
    """For a state that is a copy already."""

    _synchronize_after_execute = False

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return state_dict

    def synchronize_staging(self) -> None:
        return None

    def close(self) -> None:
        return None
