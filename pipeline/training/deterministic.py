"""Enables deterministic kernels on request."""

from __future__ import annotations

import os

import torch

# cuBLAS setting, required before its first use (PyTorch's notes on reproducibility).
_WORKSPACE = ":4096:8"


def make_deterministic() -> None:
    """Use deterministic kernels, or raise an error, in this process; call before the first kernel.

    On CPU, gloo sums ranks in a fixed order, and fbgemm's fused backward sorts ids before it sums
    their gradients, so these are deterministic by default.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
