"""Products in bfloat16 are chosen where they are faster, by all ranks alike."""

from __future__ import annotations

from pipeline.ranks.world import this_world
from pipeline.training.bf16 import FASTER, speedup, wants_bf16
from tests.ranks import run_ranks


def measured(rank: int, size: int) -> tuple[bool, float]:
    return wants_bf16("measure", this_world()), speedup()


def test_ranks_follow_the_measurement_of_the_first() -> None:
    (first, ratio), (second, _) = run_ranks(measured, 2)
    assert first == second
    if not 0.5 * FASTER < ratio < 2 * FASTER:  # else another measurement may differ
        assert first == (ratio > FASTER)
