"""What does not fit is said in bytes, and every change that is offered does fit."""

from __future__ import annotations

import json
import pickle
from functools import cache
from typing import Any

import pytest
from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible, Relaxation
from embeddings.planner.inputs.cluster import GIB, Cluster
from embeddings.planner.inputs.other_devices import OtherDevices
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.pricing import price
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of

NONE = Budget(rounds=0)


def small_cluster(hosts: int = 1, *, hbm_gb: float = 8.0, ddr_gb: float = 1.0) -> Cluster:
    return Cluster(
        hosts=hosts, devices_per_host=2, device="cuda", hbm_gb=hbm_gb, ddr_gb=ddr_gb, hbm_bw=1000,
        ddr_bw=50, intra_bw=300, inter_bw=50, host_device_bw=30,
    )  # fmt: skip


def failure(request: PlanRequest) -> Infeasible:
    with pytest.raises(Infeasible) as caught:
        find_plan(request, NONE)
    assert "\n" not in str(caught.value)
    return caught.value


@cache
def too_large() -> tuple[PlanRequest, Infeasible]:
    request = request_of(giants(5), small_cluster())
    return request, failure(request)


@cache
def many_ids() -> tuple[PlanRequest, Infeasible]:
    tables = [ListedTable(name="t", rows=20_000_000, dim=32, pooling_factor=200.0)]
    request = request_of(tables, small_cluster(), batch_size=200_000)
    return request, failure(request)


@cache
def ruled_out() -> tuple[PlanRequest, Infeasible]:
    rules = [Rule(tables="t*", types=("table_wise",), kernels=("fused",))]
    tables = giants(2, 80_000_000)
    request = request_of(tables, small_cluster(2, ddr_gb=64), rules=rules)
    return request, failure(request)


@cache
def replicas() -> tuple[PlanRequest, Infeasible]:
    setup = TrainingSetup(replica_groups=2)
    request = request_of(giants(4), small_cluster(2), setup=setup)
    return request, failure(request)


def giants(count: int, rows: int = 40_000_000) -> list[ListedTable]:
    """Of 5.1 GB (dim 32) each, before optimizer state."""
    return [ListedTable(name=f"t{i}", rows=rows, dim=32) for i in range(count)]


def test_more_ranks_are_as_few_as_suffice() -> None:
    request, found = too_large()
    (more,) = (change for change in found.relaxations if change.kind == "ranks")
    hosts = more.ranks // 2
    assert find_plan(request.changed(cluster=small_cluster(hosts)), NONE).time > 0
    with pytest.raises(Infeasible):
        find_plan(request.changed(cluster=small_cluster(hosts - 1)), NONE, diagnosis_seconds=0)


def test_the_missing_bytes_add_up() -> None:
    request, found = too_large()
    assert found.missing_memory.shortfalls
    for row in found.missing_memory.shortfalls:
        assert row.memory in ("hbm", "ddr")
        assert row.short > 0
    needed, room = found.missing_memory.total["hbm"]
    problem = price(request).problem
    assert room == problem.free[0].sum()
    assert needed <= sum(problem.total_memory()[:, 0])
    assert found.missing_memory.shortfalls[0].table in str(found)


def test_half_precision_is_offered_when_it_suffices() -> None:
    request = request_of(giants(2, 48_000_000), small_cluster(hbm_gb=6.5))
    found = failure(request)
    (half, *_) = (change for change in found.relaxations if change.kind == "fp16")
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
    kinds = {change.kind for change in found.relaxations}
    assert {"types", "kernels"} <= kinds
    assert "ranks" not in kinds  # more of them do not make a device larger
    for kind, extra in (
        ("types", {"types": ("table_wise", "row_wise", "table_row_wise")}),
        ("kernels", {"kernels": ("fused", "fused_uvm_caching", "fused_uvm")}),
    ):
        (change,) = (change for change in found.relaxations if change.kind == kind)
        opened = [rules[0].model_copy(update=extra)]
        assert find_plan(request.changed(rules=opened), NONE).time == pytest.approx(change.time)


def test_a_reservation_larger_than_a_device_with_less_memory_is_reported() -> None:
    other = (OtherDevices(ranks=(0,), hbm_gb=0.25),)
    cluster = small_cluster().model_copy(update={"other_devices": other})
    request = request_of(giants(1, 1000), cluster, batch_size=5_000_000)
    found = failure(request)
    reserved = found.missing_memory.reserved
    assert reserved is not None
    assert (reserved.memory, reserved.room) == ("hbm", GIB // 4)
    assert reserved.needs == GIB // 4 - int(0.85 * (GIB // 4)) + 5_000_000 * 8 * 20
    assert {change.kind for change in found.relaxations} == {"batch", "memory"}
    for change in found.relaxations:
        assert find_plan(changed(request, change), NONE).time == pytest.approx(change.time)


def test_more_memory_is_offered_to_devices_that_have_less() -> None:
    """8 GiB hold the table, the 1 and 2 GiB of the ranks that must have it do not."""
    other = (OtherDevices(ranks=(0,), hbm_gb=1.0), OtherDevices(ranks=(1,), hbm_gb=2.0))
    cluster = small_cluster(2).model_copy(update={"other_devices": other})
    rules = [Rule(tables="t0", types=("row_wise",))]
    request = request_of(giants(1, 80_000_000), cluster, rules=rules)
    found = failure(request)
    (more,) = (change for change in found.relaxations if "HBM" in change.what)
    assert more.what.startswith("at least ")
    assert more.what.endswith("GiB of HBM per device instead of 1")
    assert 2 < more.inputs["other_devices"][0]["hbm_gb"] < 8
    assert more.inputs["hbm_gb"] == 8
    assert find_plan(changed(request, more), NONE).time == pytest.approx(more.time)


@pytest.mark.parametrize(
    ("hbm_gb", "given"),
    [
        (0.5, {}),
        (2.0, {"reserve_share": 0.9}),
        (2.0, {"reserve_share": 1.0, "dense_gib": 0.5}),
    ],
)
def test_a_reservation_larger_than_a_device_is_reported(
    hbm_gb: float, given: dict[str, Any]
) -> None:
    asked = request_of(
        giants(1, 1000), small_cluster(hbm_gb=hbm_gb), batch_size=5_000_000,
        setup=TrainingSetup(**given),
    )  # fmt: skip
    found = failure(asked)
    assert isinstance(found.__cause__, PlannerError)
    reserved = found.missing_memory.reserved
    assert reserved is not None
    assert (reserved.memory, reserved.room) == ("hbm", int(hbm_gb * GIB))
    # As TorchRec adds it up: ids are counted twenty times, what the share leaves is rounded down.
    share = given.get("reserve_share", 0.15)
    ids = 5_000_000 * 8 * 20
    dense = int(given.get("dense_gib", 0) * GIB)
    assert reserved.needs == reserved.room - int((1 - share) * reserved.room) + ids + dense
    for change in found.relaxations:
        assert find_plan(changed(asked, change), NONE).time == pytest.approx(change.time)
    # More hosts do not make a device larger; and of all of a device none is ever enough.
    kinds = {change.kind for change in found.relaxations}
    assert kinds == (set() if share == 1.0 else {"batch", "memory"})


def changed(request: PlanRequest, change: Relaxation) -> PlanRequest:
    """The request with a change's inputs."""
    inputs = dict(change.inputs)
    if "rules" in inputs:
        return request.changed(rules=[Rule(**rule) for rule in inputs["rules"]])
    if "dtype" in inputs:
        return request.changed(half=frozenset(change.tables))
    if "batch_size" in inputs:
        return request.changed(**inputs)
    if "replica_groups" in inputs:
        return request.changed(setup=request.setup.model_copy(update=inputs))
    cluster = Cluster.model_validate({**request.cluster.model_dump(), **inputs})
    return request.changed(cluster=cluster)


@pytest.mark.parametrize("case", ["too large", "ruled out", "many ids", "replicas"])
def test_every_change_fits_and_the_nearest_stands_first(case: str) -> None:
    cases = {
        "too large": too_large, "ruled out": ruled_out, "many ids": many_ids, "replicas": replicas,
    }  # fmt: skip
    request, found = cases[case]()
    assert {
        "too large": {"memory", "fp16", "ranks"},
        "ruled out": {"types", "kernels", "memory", "fp16"},
        "many ids": {"batch", "memory", "ranks"},
        "replicas": {"replicas", "memory", "fp16"},
    }[case] <= {change.kind for change in found.relaxations}
    for change in found.relaxations:
        assert find_plan(changed(request, change), NONE).time == pytest.approx(change.time)
        assert 0 < change.apart <= 1
    times = [change.time for change in found.relaxations]
    assert times == sorted(times)
    fastest = found.relaxations[0]
    assert f"it would fit with: {fastest.what} ({fastest.time:.3g} ms)" in str(found)
    assert found.nearest is not None
    assert found.nearest.apart == min(change.apart for change in found.relaxations)


def test_amounts_are_as_little_as_suffice() -> None:
    request, found = many_ids()
    inputs = {name: n for change in found.relaxations for name, n in change.inputs.items()}
    memory, batch = inputs["hbm_gb"], inputs["batch_size"]
    for short in (
        request.changed(cluster=small_cluster(hbm_gb=memory * 0.985)),
        request.changed(batch_size=int(batch * 1.02)),
    ):
        with pytest.raises(Infeasible):
            find_plan(short, NONE, diagnosis_seconds=0)


def test_what_was_not_tried_for_lack_of_time_is_reported() -> None:
    with pytest.raises(Infeasible) as caught:
        find_plan(request_of(giants(5), small_cluster()), NONE, diagnosis_seconds=0)
    found = caught.value
    assert found.relaxations == ()
    assert set(found.untried) == {"fp16", "memory", "batch", "ranks"}
    assert "not tried for lack of time: fp16" in str(found)


def test_its_data_say_which_tables_and_ranks_lack_what() -> None:
    _, found = too_large()
    data = json.loads(json.dumps(found.data(), allow_nan=False))
    assert data["message"] == str(found)
    left = {row["rank"]: row["left"] for row in data["ranks"]}
    assert sorted(left) == [0, 1]
    for row in data["missing"]:
        assert row["short"] == row["needs"] - row["room"]
        assert max(left[row["rank"]][row["memory"]], 0) == row["room"]
    assert data["nearest"] == min(data["relaxations"], key=lambda change: change["apart"])
    assert data["reserved"] is None


def test_it_travels_between_processes() -> None:
    _, found = too_large()
    again = pickle.loads(pickle.dumps(found))
    assert str(again) == str(found)
    assert again.relaxations == found.relaxations
    assert again.missing_memory == found.missing_memory
