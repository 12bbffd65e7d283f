"""A plan in a file is the plan; what is no such file is rejected in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from embeddings.config import SHARDING_TYPES
from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import PlanFile, load_plan
from embeddings.planner.plans.solution import Solution
from embeddings.planner.search.search import Budget
from tests import odd_files
from tests.embeddings.planner.models import clusters, listed_tables, request_of


def plan_of(
    tables: list[ListedTable], cluster: Cluster, rules: tuple[Rule, ...] = ()
) -> tuple[Solution, PlanFile]:
    request = request_of(tables, cluster, rules=rules)
    request = request.changed(usage=offered(request.usage, rules))
    solution = find_plan(request, Budget(rounds=50), diagnosis_seconds=0)
    return solution, describe_plan(request, solution, tables, seed=0)


def check_same(solution: Solution, file: PlanFile, path: Path) -> None:
    path.write_text(file.to_json(), encoding="utf-8")
    loaded = load_plan(path)
    assert loaded == file
    assert loaded.sharding_plan() == solution.plan
    assert loaded.perf().tolist() == solution.perf.tolist()
    used, room = loaded.memory()
    assert used.tolist() == solution.memory.tolist()
    assert room.tolist() == solution.room.tolist()


@pytest.mark.parametrize("sharding_type", SHARDING_TYPES)
@pytest.mark.parametrize("cluster", ["a100-40-2x2", "cpu-4x1"])
def test_every_sharding_type_comes_back(sharding_type: str, cluster: str, tmp_path: Path) -> None:
    tables = [
        ListedTable(name="a", rows=1003, dim=256),
        ListedTable(name="b", rows=3, dim=16, optimizer="adam", pooling_factor=7.5),
    ]
    rule = Rule(tables="*", types=(sharding_type,))
    solution, file = plan_of(tables, load_cluster(cluster), (rule,))
    assert {placed.sharding_type for placed in file.tables} == {sharding_type}
    check_same(solution, file, tmp_path / "plan.json")


@given(listed_tables(), clusters())
@settings(max_examples=5, deadline=None)
def test_any_plan_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tables: list[ListedTable], cluster: Cluster
) -> None:
    try:
        solution, file = plan_of(tables, cluster)
    except Infeasible:
        return
    check_same(solution, file, tmp_path_factory.mktemp("plan") / "plan.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "a plan of version 3; this homerec reads version 4"),
        ({"kind": "other"}, "not a plan file; 'homerec plan SOURCE --out FILE' writes one"),
        ({"batch_size": 0}, "batch_size: 0: "),
        ({"ranks": []}, "ranks: 0 on a cluster of 2"),
        ({"color": 1}, "no such field"),
    ],
)
def test_other_files_are_rejected(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    _, file = plan_of([ListedTable(name="a", rows=10, dim=16)], load_cluster("a100-40-2x1"))
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(json.loads(file.to_json()) | change), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        load_plan(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ranks", "0-1", "do not cover its 10 x 16"),
        ("ranks", "7", "rank 7 on a cluster of 2"),
        ("rows", [[9, 1]], "do not cover its 10 x 16"),
        ("width", 12, "do not cover its 10 x 16"),
    ],
)
def test_shards_that_are_not_the_table_are_rejected(
    field: str, value: Any, message: str, tmp_path: Path
) -> None:
    rule = Rule(tables="*", types=("table_wise",))
    _, file = plan_of(
        [ListedTable(name="a", rows=10, dim=16)], load_cluster("a100-40-2x1"), (rule,)
    )
    tree = json.loads(file.to_json())
    tree["tables"][0][field] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_plan(path)


def test_what_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_plan(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"kind": ', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        load_plan(tmp_path / "half.json")
    # Python converts no integer of more digits.
    (tmp_path / "long.json").write_text(f'{{"seed": {"9" * 5000}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"long.json: Exceeds"):
        load_plan(tmp_path / "long.json")
    (tmp_path / "twice.json").write_text('{"seed": 1, "seed": 2}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"twice.json: key 'seed' is given twice; "):
        load_plan(tmp_path / "twice.json")
    odd_files.put("pipe", tmp_path / "pipe.json")
    with pytest.raises(ValueError, match=r"pipe.json: is a pipe, not a file; "):
        load_plan(tmp_path / "pipe.json")
