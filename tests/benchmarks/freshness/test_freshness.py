"""Freshness: of events by hand, and of the whole loop of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.freshness.measure import Answered, Sent, freshness

ROOT = Path(__file__).parents[3]


def test_an_event_counts_to_the_first_answer_that_has_learnt_from_it() -> None:
    sent = [Sent(0.0, 2), Sent(1.0, 3), Sent(5.0, 6)]
    answered = [Answered(0.5, 0), Answered(4.0, 3), Answered(4.5, 3), Answered(9.0, 5)]
    assert freshness(sent, answered).tolist() == [4.0, 4.0, 3.0, 4.0, 4.0]
    assert freshness(sent, answered[:1]).tolist() == []


@pytest.mark.slow
@pytest.mark.skipif("HOMEREC_FRESHNESS" not in os.environ, reason="needs two cores for itself")
def test_broker_trainer_server_and_load_show_a_number(tmp_path: Path) -> None:
    words = ["--seconds", "15", "--rate", "200", "--out", str(tmp_path / "out"), "--port", "8791"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.freshness", *words],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "freshness.json").read_text(encoding="utf-8"))
    assert found["events"] > 2000
    assert 0 < found["median_s"] <= found["p99_s"] < 300
    assert (found["lost"], found["answers"] > 20) == (0, True)
