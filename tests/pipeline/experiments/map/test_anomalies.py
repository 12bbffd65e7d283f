"""Anomalies on demand: what is written, shown, and found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.experiments.map.anomalies import TOWERS, AnomalyJob, raw, run_anomaly
from pipeline.experiments.map.anomaly_file import read_anomaly
from pipeline.experiments.map.anomaly_page import sick_seeds, verdict_table, write_anomaly_page
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from tests.pipeline.report.page import Page


def _run(out: Path, job: AnomalyJob) -> Json:
    assert run_anomaly(out, job, lambda: False)
    found = read_anomaly(out, job.seed)
    assert found is not None
    return found


def test_raw_inputs_are_far_from_0() -> None:
    x_NF = raw(torch.randn(10_000, 12, generator=torch.Generator().manual_seed(0)))
    assert x_NF[:, :4].mean().item() == pytest.approx(20, rel=0.05)
    assert x_NF[:, 4:].std().item() == pytest.approx(1, rel=0.05)


def test_every_tower_is_on_the_page(tmp_path: Path) -> None:
    assert read_anomaly(tmp_path, 3) is None
    assert not run_anomaly(tmp_path, AnomalyJob(3, steps=2), lambda: True)
    results = [_run(tmp_path, AnomalyJob(seed, steps=2)) for seed in (3, 4)]
    assert all(tuple(result["towers"]) == TOWERS for result in results)
    page = Page(write_anomaly_page(tmp_path, results).read_text("utf-8"))
    for figure in page.figures.values():
        assert sum(len(trace["x"]) for trace in figure["data"]) == 2 * len(TOWERS)
    assert len(page.figures) == 3
    assert verdict_table(results).row_count == len(TOWERS)


def test_a_damaged_result_is_one_line(tmp_path: Path) -> None:
    _run(tmp_path, AnomalyJob(0, steps=2))
    (tmp_path / "seeds/seed-0.json").rename(tmp_path / "seeds/seed-1.json")
    with pytest.raises(UserError, match=r"seed-1\.json: is of seed 0; remove it"):
        read_anomaly(tmp_path, 1)


@pytest.mark.slow
def test_mmoe_collapses_and_home_does_not(tmp_path: Path) -> None:
    results = [_run(tmp_path, AnomalyJob(1))]
    assert sick_seeds(results, "mmoe", "collapse") == 1
    assert sick_seeds(results, "home-no_normalization", "collapse") == 1
    assert sick_seeds(results, "home", "collapse") == 0
