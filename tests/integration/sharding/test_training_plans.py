"""The benchmark of plans in training runs, and says of each plan what it was and how fast."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.training_plans import main


def test_every_plan_trains_in_every_round(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "plans.json"
    words = ["--recipe", "debug", "--data", str(synthetic), "--rounds", "2", "--steps", "2"]
    main([*words, "--json", str(out), "--train.batch_size", "64"])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found["types"]["table_wise"]) == {"table_wise"}
    for name in ("homerec", "torchrec", "table_wise"):
        for clock in ("seconds", "busy"):
            middle, low, high = found["ratios"][name][clock]
            assert 0 < low <= middle <= high
    assert found["ratios"]["table_wise"]["busy"] == [1, 1, 1]
