"""Load that does not wait for answers, and the knee of a sweep."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.serving.bench.open_loop import Outcome, offer, saturate
from pipeline.serving.bench.page import write_page
from pipeline.serving.bench.sweep import Bench, rows_of
from tests.pipeline.serving.client import Client, running
from tests.pipeline.serving.test_limits import Gate
from tests.pipeline.serving.test_rank import request


def test_every_request_is_sent_and_counted(client: Client) -> None:
    bodies = [json.dumps(request(user)).encode() for user in range(4)] + [b"{"]
    got = asyncio.run(offer(client.port, bodies, per_second=100, seconds=0.5, seed=0))
    assert got.statuses == {200: 40, 400: 10}
    assert len(got.latencies) == 40
    assert asyncio.run(saturate(client.port, bodies[:4], clients=2, seconds=0.2)) > 0


def test_latency_counts_from_the_schedule(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All requests arrive while the server is held: each waits from when it was due."""
    with running(model_folder, deadline_ms=60_000) as server:
        gate = Gate(monkeypatch)
        threading.Timer(0.5, gate.open.set).start()
        body = json.dumps(request()).encode()
        got = asyncio.run(offer(server.port, [body], per_second=200, seconds=0.1, seed=1))
    assert got.statuses == {200: 20}
    assert got.latencies.min() > 0.3


def outcome(offered: float, completed: float, ms: float, errors: int = 0) -> Outcome:
    count = round(completed)
    statuses = Counter({200: count}) + Counter({429: errors})
    return Outcome(offered, 1.0, np.full(count, ms / 1e3), statuses)


def test_the_knee_is_the_last_load_that_is_kept_up_with(tmp_path: Path) -> None:
    def knee(*outcomes: Outcome) -> int | None:
        return Bench(1, 1.0, 1.0, outcomes, {}).knee

    light, busy = outcome(10, 10, 5), outcome(100, 99, 40)
    assert knee(light, busy, outcome(200, 199, 51)) == 1  # p99 beyond 10 medians
    assert knee(light, busy, outcome(200, 180, 40)) == 1
    assert knee(light, busy, outcome(200, 199, 40, errors=1)) == 1
    assert knee(light, outcome(50, 40, 5), busy) == 0
    assert knee(outcome(10, 5, 5)) is None
    found = Bench(500, 1.5, 90.0, (light, busy, outcome(200, 180, 300)), {"eager": 9.0})
    assert [row[-1] for row in rows_of(found)] == ["", "knee", ""]
    write_page(tmp_path / "page.html", tmp_path, found)
    assert "Server under load" in (tmp_path / "page.html").read_text(encoding="utf-8")
