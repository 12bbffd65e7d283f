"""A run trains under a plan's file, and under no file that was made for something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from embeddings.config import ShardingConfig
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.table_list import usage
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import load_plan
from embeddings.planner.plans.stock_plan import plan_to_json
from embeddings.planner.search.search import Budget
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.planning.run_source import listed
from pipeline.planning.sources import Source
from pipeline.ranks.world import World, this_world
from pipeline.training.build import build, build_step
from pipeline.training.parallelize import mark_tables
from pipeline.training.resolve_features import resolve_features
from tests.integration.sharding import every_plan
from tests.integration.sharding.every_plan import Way
from tests.integration.sharding.test_sharding import SCHEMA, config, train_some
from tests.ranks import run_ranks

_RULES = (
    Rule(tables="user", types=("column_wise",)),
    Rule(tables="item", types=("row_wise",)),
    Rule(tables="tab", types=("data_parallel",)),
)


def with_plan(path: Path) -> Config:
    return config(()).model_copy(update={"sharding": ShardingConfig(plan=path)})


def write_plan(path: Path, cluster: Cluster, run: Config, world: World) -> None:
    """A plan of `run` for `cluster`, some of it by rule."""
    chosen = resolve_features(run, SCHEMA)
    step = build_step(run, chosen, world)
    mark_tables(step, run)
    tables = listed(chosen, run)
    source = Source(module=step, tables=tables, usage=usage(tables), global_batch=64)
    request = source.request(cluster, None, _RULES)
    planned = find_plan(request, Budget(rounds=10))
    path.write_text(describe_plan(request, planned, tables, seed=0).to_json(), encoding="utf-8")


def train_by_file(rank: int, size: int, folder: Path) -> dict[str, Any]:
    """Losses under a file's plan and under TorchRec's own; what the run says of its plan."""
    path = folder / "plan.json"
    world = this_world()
    if rank == 0:
        write_plan(path, load_cluster("cpu-2x1"), config(()), world)
    torch.distributed.barrier()
    run = with_plan(path)
    chosen = resolve_features(run, SCHEMA)
    _, parallel = build(run, chosen, world)
    return {
        "file": train_some(rank, size, run)["losses"],
        "stock": train_some(rank, size, config(()))["losses"],
        "plan": parallel.plan,
        "wanted": plan_to_json(load_plan(path).sharding_plan(), chosen.tables),
    }


def test_two_ranks_train_under_a_files_plan(tmp_path: Path) -> None:
    for result in run_ranks(train_by_file, 2, tmp_path):
        assert result["plan"] == result["wanted"]
        assert {row["table"]: row["sharding_type"] for row in result["plan"]["tables"]} == {
            "user": "column_wise",
            "item": "row_wise",
            "tab": "data_parallel",
        }
        torch.testing.assert_close(
            torch.tensor(result["file"]), torch.tensor(result["stock"]), rtol=1e-3, atol=1e-4
        )


def reject(rank: int, size: int, folder: Path) -> list[str]:
    """What a run on this one rank says to plans that were made for something else."""
    said = []
    world = this_world()
    run = config(())
    wider = run.model_copy(
        update={"embeddings": run.embeddings.model_copy(update={"hash_rows": 3})}
    )
    for cluster, made_for in (
        (load_cluster("cpu-2x1"), run),
        (load_cluster("l4-1x1"), run),
        (load_cluster("cpu-1x1"), wider),
    ):
        path = folder / "plan.json"
        write_plan(path, cluster, made_for, world)
        with pytest.raises(UserError) as caught:
            build(with_plan(path), resolve_features(run, SCHEMA), world)
        said.append(str(caught.value))
    with pytest.raises(UserError) as caught:
        build(with_plan(folder / "none.json"), resolve_features(run, SCHEMA), world)
    return [*said, str(caught.value)]


def test_a_plan_for_something_else_is_rejected(tmp_path: Path) -> None:
    ranks, device, tables, none = run_ranks(reject, 1, tmp_path)[0]
    assert "plan.json: made for 2 ranks, but this run has 1; plan this run (" in ranks
    assert "made for cuda, but this run is on cpu" in device
    assert "table 'user' has rows 43 there and 42 in this run" in tables
    assert "none.json: cannot be read" in none
    assert not any("\n" in line for line in (ranks, device, tables, none))


def reject_by_hand(rank: int, size: int, folder: Path) -> list[str]:
    """What a run with an attention says to plans that somebody has changed."""
    said, path, world = [], folder / "plan.json", this_world()
    run = every_plan.config(path)
    chosen = resolve_features(run, every_plan.SCHEMA)
    every_plan.write_plan(path, Way(kind="table_wise"), world)
    good = load_plan(path)
    for name, changes in (
        ("item", {"compute_kernel": "dense"}),
        ("item", {"sharding_type": "table_row_wise"}),
        ("user", {"compute_kernel": "fused_uvm"}),
        ("user", {"sharding_type": "data_parallel"}),
    ):
        changed = [
            placed.model_copy(update=changes if placed.table.name == name else {})
            for placed in good.tables
        ]
        path.write_text(
            good.model_copy(update={"tables": tuple(changed)}).to_json(), encoding="utf-8"
        )
        with pytest.raises(UserError) as caught:
            build(run, chosen, world)
        said.append(str(caught.value))
    return said


def test_a_plan_that_cannot_be_run_is_rejected(tmp_path: Path) -> None:
    dense, kind, uvm, copied = run_ranks(reject_by_hand, 1, tmp_path)[0]
    assert "table 'item' has kernel 'dense' there; table_wise on CPU it can have fused;" in dense
    assert "'item' is table_row_wise there and can be table_wise, column_wise, row_wise;" in kind
    assert "table 'user' has kernel 'fused_uvm' there; table_wise on CPU it can have fused" in uvm
    assert "'user' has kernel 'fused' there; data_parallel on CPU it can have dense;" in copied


def test_no_plan_can_be_said() -> None:
    assert ShardingConfig.model_validate({"plan": ""}).plan is None


def elastic(rank: int, size: int, folder: Path) -> list[str]:
    """What a run says of a plan for its number of ranks: of 1 to 2 machines, and of 2 to 2."""
    path = folder / "plan.json"
    world = this_world()
    run = config(())
    write_plan(path, load_cluster("cpu-1x1"), run, world)
    said = []
    for machines in ("1:2", "2:2"):
        os.environ["HOMEREC_NNODES"] = machines
        try:
            build(with_plan(path), resolve_features(run, SCHEMA), world)
            said.append("taken")
        except UserError as error:
            said.append(str(error))
    return said


def test_a_plan_is_rejected_where_the_ranks_may_become_other(tmp_path: Path) -> None:
    rejected, taken = run_ranks(elastic, 1, tmp_path)[0]
    assert rejected == (
        f"sharding.plan: {tmp_path / 'plan.json'}: a plan is for one number of ranks, but this job "
        "continues with 1 to 2 machines; use --sharding.plan '' (each start plans again), or "
        "--nnodes 2"
    )
    assert taken == "taken"
