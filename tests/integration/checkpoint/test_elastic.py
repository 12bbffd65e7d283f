"""Jobs of which a machine is lost, here played by an agent that SIGKILL takes with its ranks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.checkpoint.lost_machine import ALONE_UNTIL, LOST_AT

ROOT = Path(__file__).resolve().parents[3]
_STEPS = 60
_WORDS = ["--train.batch_size", "240", "--train.epochs", "3", "--train.max_steps", str(_STEPS)]
# Dropout draws from each rank's own random numbers: other ranks, other draws.
_WORDS += ["--train.eval_every", str(_STEPS), "--checkpoint.every", "5"]
_WORDS += ["--model.tower.dropout", "0", "--train.log_every", "1"]


def _losses(out: Path) -> dict[str, float]:
    tasks = json.loads((out / "results.json").read_text(encoding="utf-8"))["tasks"]
    return {name: task["log_loss"] for name, task in tasks.items()}


def _lines(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_machine_costs_the_steps_since_the_last_checkpoint_and_comes_back(
    synthetic: Path, tmp_path: Path
) -> None:
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    run = ["train", "debug", "--data.path", str(synthetic), *_WORDS, "--out"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LOST": str(tmp_path / "lost")}
    # On as many ranks as the job begins with: rows are split over those.
    command = [sys.executable, "-m", "launchers.cli", "launch", "--nproc", "2", "--"]
    subprocess.run([*command, *run, str(calm)], capture_output=True, check=True, env=env)
    command = [sys.executable, "-m", "tests.integration.checkpoint.lost_machine", "launch"]
    command += ["--nnodes", "1:2", "--nproc", "1", "--max-retries", "1", "--", *run, str(hit)]
    job = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=env)
    printed = job.stdout + job.stderr
    assert job.returncode == 0, printed
    assert (tmp_path / "lost").exists()
    printed = " ".join(printed.split())  # long paths break lines
    starts = [int(step) for step in re.findall(r"training debug in \S+, steps (\d+) to", printed)]
    assert starts[:2] == [0, LOST_AT // 5 * 5], printed
    # Asked to stop in step ALONE_UNTIL; ranks stop after one that all have agreed on, soon after.
    assert len(starts) == 3, printed
    assert ALONE_UNTIL <= starts[2] < _STEPS
    assert "resuming on 1 ranks; saved on 2" in printed
    assert "resuming on 2 ranks; saved on 1" in printed
    assert [line["step"] for line in _lines(hit, "train")] == list(range(1, _STEPS + 1))
    assert _losses(hit) == pytest.approx(_losses(calm), abs=1e-4)
    # The same rows at each step, whoever had them: what is logged of a step does not differ.
    for ours, theirs in zip(_lines(hit, "train"), _lines(calm, "train"), strict=True):
        assert ours["loss/total"] == pytest.approx(theirs["loss/total"], abs=1e-4)
