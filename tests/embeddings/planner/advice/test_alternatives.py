"""Switching one table alone costs what a search with everything else pinned finds."""

from __future__ import annotations

import pytest

from embeddings.planner.advice.alternatives import alternatives, why
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of, uncalibrated

CLUSTER = uncalibrated("cpu-2x2")
TABLES = [
    ListedTable(name="a", rows=300_000, dim=256, pooling_factor=3),
    ListedTable(name="b", rows=20_000, dim=64, pooling_factor=20),
    ListedTable(name="c", rows=100, dim=16),
]


def plan_of(*rules: Rule, cluster: Cluster = CLUSTER) -> PlanFile:
    request = request_of(TABLES, cluster, rules=rules)
    request = request.changed(usage=offered(request.usage, rules))
    return describe_plan(
        request, find_plan(request, Budget(rounds=200, seconds=600)), TABLES, seed=0
    )


def pinned(placed: PlacedTable) -> Rule:
    """To where it lies; what lies on all ranks has no choice."""
    everywhere = placed.sharding_type in ("row_wise", "data_parallel")
    return Rule(
        tables=placed.table.name,
        types=(placed.sharding_type,),
        kernels=(placed.compute_kernel,),
        width=placed.width if placed.width < placed.table.dim else None,
        ranks=() if everywhere else tuple(placed.rank_list()),
    )


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_switch_costs_what_a_search_around_pins_finds(name: str) -> None:
    file = plan_of()
    others = [pinned(placed) for placed in file.tables if placed.table.name != name]
    found = alternatives(file, name)
    assert {one.sharding_type for one in found} >= {"table_wise", "row_wise", "table_row_wise"}
    for one in found:
        width = one.width if one.width < file.find(name).table.dim else None
        rule = Rule(tables=name, types=(one.sharding_type,), kernels=(one.kernel,), width=width)
        theirs = plan_of(*others, rule)
        if theirs.find(name).width == one.width:  # a rule for a width allows unsplit columns too
            assert one.plan_ms == pytest.approx(theirs.objective_ms()), one
        assert one.plan_ms is not None
        assert one.plan_ms >= file.objective_ms() * (1 - 1e-9)
        assert one.allowed


def test_the_chosen_one_is_the_plans_own() -> None:
    rule = Rule(tables="a", forbid_types=("table_wise", "column_wise"))
    file = plan_of(rule)
    for name in "abc":
        found = alternatives(file, name)
        (chosen,) = [one for one in found if one.chosen]
        placed = file.find(name)
        assert chosen.perf.tolist() == list(*placed.shard_ms)
        assert chosen.plan_ms == pytest.approx(file.objective_ms())
        assert chosen.shards == len(placed.rank_list())
        kinds = {one.sharding_type for one in found if not one.allowed}
        assert kinds == ({"table_wise", "column_wise"} if name == "a" else set())


def test_sharding_types_cost_what_they_cost_the_plan() -> None:
    file = plan_of(cluster=load_cluster("cpu-2x2"))
    for name in "abc":
        (chosen,) = [one for one in alternatives(file, name) if one.chosen]
        assert chosen.plan_ms == pytest.approx(file.objective_ms())
        assert file.objective_ms() > file.time_ms


def test_why_it_won_is_what_the_options_say() -> None:
    file = plan_of()
    for name in "abc":
        found = alternatives(file, name)
        reason = why(file, name, found)
        others = [one.plan_ms for one in found if not one.chosen and one.plan_ms is not None]
        assert ("would be equally good" in reason) == (
            min(others) == pytest.approx(file.objective_ms())
        )
        slower = min(others) / file.objective_ms() - 1
        assert ("Every other option makes the busiest rank slower" in reason) == (slower > 1e-9)
        assert slower <= 1e-9 or f"by {100 * slower:.3g}%" in reason
        assert why(file, name, [one for one in found if one.chosen]).startswith("It is the only")
    # Had the search stopped at a slower plan, it would not call it the best.
    slow = file.model_copy(update={"time_ms": 2 * file.time_ms})
    reason = why(slow, "a", alternatives(file, "a"))
    assert "would make the busiest rank faster" in reason


def test_what_has_no_room_is_reported() -> None:
    file = plan_of()
    full = file.model_copy(
        update={"ranks": tuple(rank.model_copy(update={"room": rank.bytes}) for rank in file.ranks)}
    )
    found = alternatives(full, "a")
    assert [one.plan_ms is None for one in found] == sorted(one.plan_ms is None for one in found)
    for one in found:
        if one.sharding_type == "data_parallel" and not one.chosen:
            assert one.plan_ms is None


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no table 'z' in the plan; tables: a, b, c"):
        alternatives(plan_of(), "z")
