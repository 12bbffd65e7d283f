"""A run under a plan's file: shards as it says, is evaluated anywhere, goes on without it."""

from __future__ import annotations

import json
from pathlib import Path

from embeddings.planner.plan import plan_to_json
from embeddings.planner.plan_file import load_plan
from launchers.cli import main
from pipeline.assemble import select
from pipeline.config import Config
from pipeline.data.schema import Schema
from tests.integration.test_train import evaluated, run
from tests.ranks import run_ranks


def test_a_run_under_a_plans_file(synthetic: Path, tmp_path: Path) -> None:
    path, out, rules = tmp_path / "plan.json", tmp_path / "run", tmp_path / "rules.yaml"
    rules.write_text("rules: [{tables: '*', types: [row_wise]}]")
    words = ["--data.path", str(synthetic), "--constraints", str(rules), "--out", str(path)]
    assert main(["plan", "debug", *words, "--cluster", "cpu-2x1"]) == 0
    given = ["--sharding.plan", str(path)]
    assert run_ranks(run, 2, synthetic, out, given) == [0, 0]
    config, schema = Config.load(out / "config.json"), Schema.load(out)
    assert config.sharding.plan == path
    tables = select(config, schema).tables
    wanted = plan_to_json(load_plan(path).sharding_plan(), tables)
    assert json.loads((out / "plan.json").read_text()) == wanted
    # The file is for two ranks; an evaluation on one needs none.
    assert run_ranks(evaluated, 1, out)[0]["click"]["rows"] > 0
    (refused,) = run_ranks(run, 1, synthetic, out, [], True)
    assert "plan.json: made for 2 ranks, and this run has 1" in refused
    assert "--sharding.plan ''" in refused
    more = ["--sharding.plan", "", "--train.max_steps", "9"]
    assert run_ranks(run, 1, synthetic, out, more, True) == [0]
    assert Config.load(out / "config.json").sharding.plan is None
