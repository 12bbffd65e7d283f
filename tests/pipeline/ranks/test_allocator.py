"""Memory that was freed is used again, without a page fault."""

from __future__ import annotations

import resource
import threading

import torch

from pipeline.ranks.allocator import keep_freed_memory
from tests.ranks import run_ranks

_NUMBERS = 10 * 2**20
"""40 MiB: by default malloc always maps so much anew."""


def faults_when_warm(rank: int, size: int) -> int:
    """Page faults while threads, one after the other, allocate and free a large tensor."""
    keep_freed_memory()

    def allocate() -> None:
        torch.ones(_NUMBERS)

    def work(rounds: int) -> None:
        for _ in range(rounds):
            allocate()
            thread = threading.Thread(target=allocate)
            thread.start()
            thread.join()

    work(30)  # an aligned block does not fit where an equal one was: the heap grows for a while
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work(5)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_large_tensors_fault_no_pages_again() -> None:
    (faults,) = run_ranks(faults_when_warm, 1)
    assert faults < 1_000
