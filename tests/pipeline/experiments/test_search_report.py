"""The page of a search: every trial in it, and nothing fetched from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.search_report import FOUND, ranked, read_found, write_tune_report
from pipeline.io.errors import UserError
from pipeline.io.files import write_json


def trial(number: int, state: str, value: float | None, **other: Any) -> dict[str, Any]:
    return {
        "trial": number,
        "run": f"trial-{number:04d}",
        "state": state,
        "value": value,
        "params": {"dense.lr": 1e-3 * (number + 1), "train.batch_size": "128"},
        "evaluations": [] if value is None else [[1000, value - 0.1], [2000, value]],
        "seconds": 61.0,
        "error": None,
        **other,
    }


def search(trials: list[dict[str, Any]], best: int | None, **other: Any) -> dict[str, Any]:
    found = {"recipe": "debug", "data": "data/demo", "select": "mean/auc", "seed": 0, "best": best}
    found |= {"lower_is_better": False, "log_scale": ["dense.lr"], "importance": {}}
    found |= {"settings": {}, "config": {}}
    return {**found, "searches": ["dense.lr", "train.batch_size"], "trials": trials, **other}


TRIALS = [
    trial(0, "complete", 0.6),
    trial(1, "failed", None, error="step 2: <loss> is not finite"),
    trial(2, "complete", 0.7),
    trial(3, "pruned", 0.8),
    trial(4, "running", None, params={}, seconds=None),
]


def test_finished_trials_come_first_and_the_best_of_them() -> None:
    order = [one["trial"] for one in ranked(search(TRIALS, 2))]
    assert order == [2, 0, 3, 4, 1]
    order = [one["trial"] for one in ranked(search(TRIALS, 0, lower_is_better=True))]
    assert order == [0, 2, 3, 4, 1]


def test_the_page_tells_all_and_needs_nothing(tmp_path: Path) -> None:
    weights = {"dense.lr": 0.9, "train.batch_size": 0.1}
    write_tune_report(tmp_path, search(TRIALS, 2, importance=weights))
    body = (tmp_path / "report.html").read_text(encoding="utf-8").partition("<noscript>")[0]
    assert "0.7000 (trial 2)" in body
    assert "&lt;loss&gt; is not finite" in body
    assert "best.yaml" in body
    assert body.count('<script type="application/json">') == 5  # two, one a field, importance
    assert "src=" not in body


def test_a_page_before_anything_has_ended(tmp_path: Path) -> None:
    for trials in ([], [trial(0, "failed", None, error="why")]):
        write_tune_report(tmp_path, search(trials, None))
        assert "Not in this run" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_was_found_is_read_back_or_named(tmp_path: Path) -> None:
    found = search(TRIALS, 2)
    write_json(tmp_path / FOUND, found)
    assert read_found(tmp_path) == found
    for text in ("{", "[]", '{"trials": []}'):
        (tmp_path / FOUND).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"tune\.json: .*; start another search"):
            read_found(tmp_path)
