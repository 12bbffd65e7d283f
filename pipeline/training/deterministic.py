"""Bit-equal runs on request."""

from __future__ import annotations

import os

import torch

# What cuBLAS needs to be set before its first use (PyTorch's notes on reproducibility).
_WORKSPACE = ":4096:8"


def make_deterministic() -> None:
    """Deterministic kernels or an error, for this process; before the first of them runs.

    On CPU, gloo adds ranks in a fixed order and fbgemm's fused backward sorts a table's ids before
    it adds their gradients, so these need no switch.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
