"""Whatever becomes of a file of a run, its report is written or one line says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.report.run_report import write_report
from tests.mutations import COUNT, assert_read_or_refused, text_mutations
from tests.pipeline.report.page import Page
from tests.pipeline.report.test_run_report import make_run

PROBE = {
    "kind": "health",
    "step": 5,
    "time": 1_700_000_050,
    "experts/a/b.0/zero_fraction": 0.25,
    "experts/a/b.0/mean": 0.5,
    "shared/a/b.0/entropy": 0.75,
    "tasks/click/task_specific_weight": 0.5,
    "tasks/click/gradient_norm": 0.125,
}
FILES = (
    "metrics.jsonl",
    "results.json",
    "health.json",
    "plan.json",
    "config.json",
    "schema.json",
)


@pytest.mark.parametrize("name", FILES)
def test_a_run_is_reported_or_one_line_says_why_not(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(PROBE) + "\n")
    text = (run / name).read_text(encoding="utf-8")
    done = 0
    for changed in text_mutations(text, count=COUNT // 2):
        (run / name).write_bytes(changed)
        done += assert_read_or_refused(lambda: write_report(run), changed)
    assert done, "some changes are harmless"


def test_what_is_not_finite_is_a_dash(tmp_path: Path) -> None:
    """A tower that diverged has nulls for its experts and gates."""
    run = make_run(tmp_path / "run")
    health = json.loads((run / "health.json").read_text(encoding="utf-8"))
    for metrics in (*health["experts"].values(), *health["gates"].values()):
        metrics.update(dict.fromkeys(metrics))
    (run / "health.json").write_text(json.dumps(health), encoding="utf-8")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.row("meta.shared.0")[1:] == ["-"] * len(page.row("meta.shared.0")[1:])
