"""Memory that was freed is used again, without a page fault."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest
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


def huge_pages(rank: int, size: int) -> int:
    """KiB of this process in huge pages while it holds a large tensor."""
    keep_freed_memory()
    held = torch.ones(_NUMBERS)
    shown = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    assert held.sum() == _NUMBERS
    return sum(int(line.split()[1]) for line in shown.splitlines() if "AnonHugePages" in line)


def test_large_tensors_are_of_huge_pages() -> None:
    allowed = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not allowed.exists() or "[never]" in allowed.read_text(encoding="utf-8"):
        pytest.skip("this kernel gives no huge pages")
    (found,) = run_ranks(huge_pages, 1)
    assert found > 0
