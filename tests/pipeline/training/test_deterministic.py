"""The switch changes a process for good, so a rank flips it."""

from __future__ import annotations

import pytest
import torch

from pipeline.training.deterministic import make_deterministic
from tests.ranks import run_ranks


def put() -> None:
    torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def before_and_after(rank: int, size: int) -> None:
    put()
    make_deterministic()
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        put()


def test_kernels_that_are_not_deterministic_raise() -> None:
    run_ranks(before_and_after, 1)
