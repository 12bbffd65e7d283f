"""What does not fit is said in bytes, and every change that is offered does fit."""

from __future__ import annotations

import pickle

import pytest
from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.cluster import Cluster
from embeddings.planner.find import find_plan
from embeddings.planner.infeasible import Infeasible
from embeddings.planner.request import Request, price
from embeddings.planner.rules import Rule
from embeddings.planner.search import Budget
from embeddings.planner.tables import ListedTable
from tests.embeddings.planner.models import request_of

NONE = Budget(rounds=0)


def small_cluster(hosts: int = 1, *, hbm_gb: float = 8.0, ddr_gb: float = 1.0) -> Cluster:
    return Cluster(
        hosts=hosts, devices_per_host=2, device="cuda", hbm_gb=hbm_gb, ddr_gb=ddr_gb, hbm_bw=1000,
        ddr_bw=50, intra_bw=300, inter_bw=50, host_device_bw=30,
    )  # fmt: skip


def failure(request: Request) -> Infeasible:
    with pytest.raises(Infeasible) as caught:
        find_plan(request, NONE)
    assert "\n" not in str(caught.value)
    return caught.value


def giants(count: int, rows: int = 40_000_000) -> list[ListedTable]:
    """Of 5.1 GB (dim 32) each, before optimizer state."""
    return [ListedTable(name=f"t{i}", rows=rows, dim=32) for i in range(count)]


def test_more_ranks_are_as_few_as_suffice() -> None:
    request = request_of(giants(5), small_cluster())
    found = failure(request)
    (more,) = (change for change in found.changes if change.kind == "ranks")
    hosts = more.ranks // 2
    assert find_plan(request.changed(cluster=small_cluster(hosts)), NONE).time > 0
    with pytest.raises(Infeasible):
        find_plan(request.changed(cluster=small_cluster(hosts - 1)), NONE, diagnosis_seconds=0)


def test_the_missing_bytes_add_up() -> None:
    request = request_of(giants(5), small_cluster())
    found = failure(request)
    assert found.lack.shortfalls
    for row in found.lack.shortfalls:
        assert row.memory in ("hbm", "ddr")
        assert row.short > 0
    needed, room = found.lack.total["hbm"]
    problem = price(request).problem
    assert room == problem.free[0].sum()
    assert needed <= sum(problem.total_memory()[:, 0])
    assert found.lack.shortfalls[0].table in str(found)


def test_half_precision_is_offered_when_it_suffices() -> None:
    request = request_of(giants(2, 48_000_000), small_cluster(hbm_gb=6.5))
    found = failure(request)
    (half, *_) = (change for change in found.changes if change.kind == "fp16")
    stored = [
        table.model_copy(update={"dtype": "fp16"}) if table.name in half.tables else table
        for table in giants(2, 48_000_000)
    ]
    assert find_plan(request_of(stored, small_cluster(hbm_gb=6.5)), NONE).time == pytest.approx(
        half.time
    )


def test_rules_in_the_way_are_named() -> None:
    rules = [Rule(tables="*", types=("table_wise",), kernels=("fused",))]
    request = request_of(giants(1, 80_000_000), small_cluster(4, ddr_gb=64), rules=rules)
    found = failure(request)
    kinds = {change.kind for change in found.changes}
    assert {"types", "kernels"} <= kinds
    assert "ranks" not in kinds  # more of them do not make a device larger
    for kind, extra in (
        ("types", {"types": ("table_wise", "row_wise", "table_row_wise")}),
        ("kernels", {"kernels": ("fused", "fused_uvm_caching", "fused_uvm")}),
    ):
        (change,) = (change for change in found.changes if change.kind == kind)
        opened = [rules[0].model_copy(update=extra)]
        assert find_plan(request.changed(rules=opened), NONE).time == pytest.approx(change.time)


def test_a_reservation_larger_than_a_device_is_said() -> None:
    request = request_of(giants(1, 1000), small_cluster(hbm_gb=0.5), batch_size=50_000_000)
    found = failure(request)
    assert isinstance(found.__cause__, PlannerError)
    (change,) = found.changes
    assert change.what in str(found)
    smaller = int(change.what.split()[3].replace(",", ""))
    assert smaller < 50_000_000
    planned = find_plan(request.changed(batch_size=smaller), NONE)
    assert planned.time == pytest.approx(change.time)


def test_it_travels_between_processes() -> None:
    found = failure(request_of(giants(5), small_cluster()))
    again = pickle.loads(pickle.dumps(found))
    assert str(again) == str(found)
    assert again.changes == found.changes
    assert again.lack == found.lack
