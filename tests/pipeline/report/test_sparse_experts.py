"""A report of a tower whose rows run few experts."""

import json
from pathlib import Path

from tests.pipeline.report.test_run_report import HEALTH, make_run, read


def test_the_load_of_experts_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert "Rows that run each expert" not in read(run).text
    load = {"load": 0.25, "weight": 0.125}
    experts = {name: metrics | load for name, metrics in HEALTH["experts"].items()}
    (run / "health.json").write_text(json.dumps(HEALTH | {"experts": experts}), encoding="utf-8")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        head = {"kind": "health", "step": 5, "time": 1_700_000_050}
        log.write(json.dumps({**head, "experts/a/load": 0.5, "experts/a/mean": 0.5}) + "\n")
    page = read(run)
    assert page.trace("Rows that run each expert")["x"] == [0.25, 0.25]
    assert page.trace("Mean weight of each expert")["x"] == [0.125, 0.125]
    assert page.trace("Rows that run each expert, in training", "a")["y"] == [0.5]
