"""`benchmarks.kills` in short: a run that dies over and over against one that is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own, to fill it, needs root")
@pytest.mark.parametrize(("seed", "words"), [("5", []), ("6", ["--change-ranks"])])
def test_what_dies_loses_nothing(seed: str, words: list[str], tmp_path: Path) -> None:
    """All, and a rank, with SIGKILL; a full disk; in a step, an evaluation, both kinds of save."""
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "4", "--seed", seed, *words]
    done = subprocess.run(
        [*command, "--json", str(found)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(found.read_text(encoding="utf-8"))
    assert (result["passed"], result["kills"]) == (True, 4)
    assert result["bit-equal"] or words
