"""Which ranks count as slow."""

from __future__ import annotations

import socket

from pipeline.config.sections import FaultsConfig
from pipeline.faults.stragglers import Stragglers
from pipeline.ranks.world import this_world
from tests.ranks import run_ranks


def fed(rank: int, size: int) -> list[list[str]]:
    config = FaultsConfig(straggler_factor=3.0, straggler_window=2)
    slow = Stragglers(config, this_world(), lambda: [0.0] * size)
    rows = [[1.0, 2.9], [1.0, 2.9], [1.0, 3.1], [1.0, 3.1], [1.0, 9.0], [1.0, 9.0], [1.0, 1.0]]
    rows += [[1.0, 1.0], [4.0, 1.0], [4.0, 1.0]]
    return [slow.update(step, row) for step, row in enumerate(rows)]


def test_a_straggler_is_reported_once_with_its_host() -> None:
    first, second = run_ranks(fed, 2)
    assert first == second
    assert [len(lines) for lines in first] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert f"rank 1 on host {socket.gethostname()} is slow: 3100.0 ms" in first[3][0]
    assert f"rank 0 on host {socket.gethostname()} is slow: 4000.0 ms" in first[9][0]
