"""The process group of a rank."""

import sys

from pipeline.ranks.world import open_world


def test_a_process_of_its_own_keeps_its_tracebacks() -> None:
    before = sys.excepthook
    for _ in range(2):
        with open_world() as world:
            assert world.size == 1
            assert sys.excepthook is before
