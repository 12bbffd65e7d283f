"""Whatever becomes of a plan's file, it is read or one line says what is wrong."""

from __future__ import annotations

from pathlib import Path

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.plan_file import load_plan
from tests.embeddings.planner.plans.test_plan_file import plan_of
from tests.mutations import assert_read_or_refused, planner_errors, text_mutations


def use(path: Path) -> None:
    with planner_errors():
        plan = load_plan(path)
    plan.sharding_plan()
    plan.rated()
    plan.memory()
    plan.objective_ms()
    plan.to_json()


def test_a_plan_is_read_or_one_line_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    tables = [ListedTable(name="a", rows=1003, dim=16), ListedTable(name="b", rows=3, dim=8)]
    _, file = plan_of(tables, load_cluster("a100-40-2x2"))
    for changed in text_mutations(file.to_json()):
        path.write_bytes(changed)
        assert_read_or_refused(lambda: use(path), changed)
