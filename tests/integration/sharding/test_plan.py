"""A run under a plan's file: shards as it says, is evaluated anywhere, resumes under any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from embeddings.planner.plans.plan_file import load_plan
from embeddings.planner.plans.stock_plan import plan_to_json
from launchers.cli.main import main
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.training.resolve_features import resolve_features
from tests.integration.training.runs import evaluated, run, tensors
from tests.ranks import run_ranks


def write_plan(path: Path, data: Path, kind: str) -> None:
    """`homerec plan` for two ranks, all tables of one sharding type."""
    rules = path.with_suffix(".yaml")
    rules.write_text(f"rules: [{{tables: '*', types: [{kind}]}}]", encoding="utf-8")
    words = ["--data.path", str(data), "--constraints", str(rules), "--out", str(path)]
    assert main(["plan", "debug", *words, "--cluster", "cpu-2x1"]) == 0


def sharding_of(path: Path, out: Path) -> Any:
    """What a run under the plan must say of it."""
    config, schema = Config.load(out / "config.json"), Schema.load(out)
    return plan_to_json(load_plan(path).sharding_plan(), resolve_features(config, schema).tables)


@pytest.fixture(scope="module")
def planned(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan's file, and a run of 8 steps under it."""
    folder = tmp_path_factory.mktemp("planned")
    path, out = folder / "plan.json", folder / "run"
    write_plan(path, synthetic, "row_wise")
    assert run_ranks(run, 2, synthetic, out, ["--sharding.plan", str(path)]) == [0, 0]
    return path, out


def test_a_run_under_a_plans_file(
    planned: tuple[Path, Path], synthetic: Path, tmp_path: Path
) -> None:
    path, out = planned[0], tmp_path / "run"
    shutil.copytree(planned[1], out)
    assert Config.load(out / "config.json").sharding.plan == path
    assert json.loads((out / "plan.json").read_text(encoding="utf-8")) == sharding_of(path, out)
    # The file is for two ranks; an evaluation on one needs none.
    assert run_ranks(evaluated, 1, out)[0]["click"]["rows"] > 0
    (rejected,) = run_ranks(run, 1, synthetic, out, [], True)
    assert "plan.json: made for 2 ranks, but this run has 1" in rejected
    assert "--sharding.plan ''" in rejected
    more = ["--sharding.plan", "", "--train.max_steps", "9"]
    assert run_ranks(run, 1, synthetic, out, more, True) == [0]
    assert Config.load(out / "config.json").sharding.plan is None


def test_resume_under_another_plan_gives_what_the_first_would_have(
    planned: tuple[Path, Path], synthetic: Path, tmp_path: Path
) -> None:
    undisturbed, out, path = planned[1], tmp_path / "changed", tmp_path / "copies.json"
    shutil.copytree(undisturbed, out)
    last, before = (f"step-0000000{step}" for step in (8, 5))
    shutil.rmtree(out / "checkpoints" / last)
    write_plan(path, synthetic, "data_parallel")
    assert run_ranks(run, 2, synthetic, out, ["--sharding.plan", str(path)], True) == [0, 0]
    assert json.loads((out / "plan.json").read_text(encoding="utf-8")) == sharding_of(path, out)
    left, right, early = (
        tensors(run / "checkpoints" / step, tmp_path)
        for run, step in ((undisturbed, last), (out, last), (out, before))
    )
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-4, atol=1e-5, msg=name)
    # The last steps are no trifle beside what is let pass.
    states = [name for name in left if name.startswith("/tables/")]
    assert states
    assert all((left[name] - early[name]).max() > 1e-4 * left[name].max() for name in states)
