"""Widths of shards, tables of one host, and devices with other memory hold in a plan."""

from __future__ import annotations

import pytest

from embeddings.config import COLUMN_SPLIT
from embeddings.planner.advice.alternatives import alternatives
from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.other_devices import OtherDevices
from embeddings.planner.inputs.rules import ASKED_FOR, Rule
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.fixed_plan import repriced
from embeddings.planner.plans.storage import memory_by_kind
from embeddings.planner.problem.options import MEMORIES
from embeddings.planner.problem.pricing import price
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of
from tests.embeddings.planner.plans.test_solution import SHORT, check_costs, some_tables


def test_tables_of_one_host_may_lie_on_any_of_its_ranks() -> None:
    rules = (
        Rule(tables="user_*", together="host"),
        Rule(tables="item_[02]", together="host", types=("table_wise", "column_wise")),
        Rule(tables="user_5", types=("table_wise",), ranks=(6,)),
    )
    request = request_of(some_tables(), load_cluster("h100-4x2"), rules=rules)
    solution = find_plan(request, Budget(rounds=1000, seconds=600))
    hosts: dict[str, set[int]] = {"user": set(), "item": set()}
    ranks: set[int] = set()
    for choice in solution.choices:
        kind = choice.table.partition("_")[0]
        if kind == "user" or choice.table in ("item_0", "item_2"):
            hosts[kind] |= {rank // 4 for rank in choice.ranks}
            ranks |= set(choice.ranks)
    assert hosts["user"] == {1}
    assert len(hosts["item"]) == 1
    assert len(ranks) > 2
    check_costs(request, solution)
    # It keeps to the rule from a start that does not.
    free = find_plan(request.changed(rules=()), SHORT)
    warm = find_plan(request, SHORT, previous=free.plan)
    users = [c for c in warm.choices if c.table.startswith("user_")]
    assert {rank // 4 for choice in users for rank in choice.ranks} == {1}


def test_a_group_that_no_host_can_have_is_refused() -> None:
    rules = (Rule(tables="user_*", together="host", types=("row_wise",)),)
    request = request_of(some_tables(), load_cluster("h100-4x2"), rules=rules)
    with pytest.raises(ValueError, match="'together: host' and no allowed option lies on one host"):
        find_plan(request, SHORT)
    alone = request_of(some_tables(), load_cluster("h100-4x1"), rules=rules)
    assert find_plan(alone, SHORT).lower_bound > 0


def test_devices_of_unequal_memory_carry_what_fits() -> None:
    """Of 4 ranks with 40 GiB, one of 10 and a host of 80; its tables are of 15 to 50 GiB."""
    other = (
        OtherDevices(hosts=(1,), hbm_gb=80.0, ddr_gb=500.0),
        OtherDevices(ranks=(0,), hbm_gb=10.0),
    )
    cluster = load_cluster("a100-40-2x2").model_copy(update={"other_devices": other})
    devices = cluster.topology().devices
    assert [device.storage.hbm // 2**30 for device in devices] == [10, 40, 80, 80]
    assert [device.storage.ddr // 2**30 for device in devices[1:3]] == [
        int(cluster.ddr_gb / 2),
        250,
    ]
    tables = [ListedTable(name=f"t{n}", rows=n * 4_194_304, dim=64) for n in (15, 30, 48, 50)]
    rules = (Rule(tables="*", types=("table_wise",), kernels=("fused",)),)
    request = request_of(tables, cluster, rules=rules)
    solution = find_plan(request, SHORT)
    assert 0 not in {rank for choice in solution.choices for rank in choice.ranks}
    assert (solution.memory <= solution.room).all()
    check_costs(request, solution)
    equal = load_cluster("a100-40-2x2")
    with pytest.raises(Infeasible, match=r"'t(48|50)' lacks"):
        find_plan(request.changed(cluster=equal), SHORT, diagnosis_seconds=0)


@pytest.mark.parametrize("width", [4, 8, 32, 64])
def test_a_width_holds_down_to_what_torchrec_takes(width: int) -> None:
    """TorchRec offers no shards of less than 128 columns unless it is asked for them."""
    rules = (Rule(tables="item_2", width=width, types=("column_wise",)),)
    tables = some_tables(3)
    request = request_of(tables, load_cluster("h100-4x1"), rules=rules)
    solution = find_plan(request, SHORT)
    (choice,) = (choice for choice in solution.choices if choice.table == "item_2")
    assert (choice.sharding_type, choice.width) == ("column_wise", width)
    check_costs(request, solution)
    file = describe_plan(request, solution, tables, 0)
    chosen = [one for one in alternatives(file, "item_2") if one.chosen]
    assert [(one.sharding_type, one.width) for one in chosen] == [("column_wise", width)]
    # Types that split no columns stay possible; those that do have this width.
    free = request.changed(rules=(Rule(tables="item_2", width=width),))
    for n, option in enumerate(price(free).options.options):
        if option.table == 2 and not Rule(tables="*", width=width).allows(
            option.sharding_type, option.kernel, option.width
        ):
            assert option.sharding_type in COLUMN_SPLIT, n


def test_a_width_without_a_type_that_splits_columns_is_refused() -> None:
    for rules in (
        [Rule(tables="a", width=32, types=("row_wise", "data_parallel"))],
        [Rule(tables="a", width=32), Rule(tables="*", types=("data_parallel", "row_wise"))],
    ):
        tables = [ListedTable(name="a", rows=1000, dim=64)]
        request = request_of(tables, load_cluster("h100-2x1"), rules=rules)
        with pytest.raises(ValueError, match=r"width 32: the rules leave table 'a' only .* none"):
            price(request)


def test_a_rule_may_ask_for_less_than_the_table_lists_minimum() -> None:
    tables = [ListedTable(name="a", rows=1000, dim=512, min_partition=256)]
    rules = (Rule(tables="a", width=128, types=("column_wise",)),)
    request = request_of(tables, load_cluster("h100-4x1"), rules=rules)
    file = describe_plan(request, find_plan(request, SHORT), tables, 0)
    assert [one.width for one in alternatives(file, "a") if one.chosen] == [128]


def test_a_table_list_says_how_narrow_shards_may_be() -> None:
    table = ListedTable(name="a", rows=1000, dim=64, min_partition=16)
    options = price(request_of([table], load_cluster("h100-4x1"))).options
    widths = {o.width for o in options.options if o.sharding_type == "column_wise"}
    assert widths == {16, 32}
    with pytest.raises(ValueError, match="min_partition: 24 does not divide 64 columns; give one"):
        ListedTable(name="a", rows=1000, dim=64, min_partition=24)


@pytest.mark.parametrize("kernel", ASKED_FOR)
def test_kernels_beyond_main_memory_are_priced_as_torchrec_does(kernel: str) -> None:
    """Only where a rule names them; rows of key_value fill the SSD."""
    cluster = load_cluster("a100-40-2x1").model_copy(update={"ssd_gb": 2000.0, "ssd_bw": 3.0})
    huge = ListedTable(name="huge", rows=10**9, dim=64)
    tables = [huge, ListedTable(name="small", rows=99, dim=64)]
    rules = (Rule(tables="huge", kernels=(kernel,)),)
    request = request_of(tables, cluster, rules=rules)
    solution = find_plan(request, SHORT)
    by_name = {choice.table: choice for choice in solution.choices}
    assert by_name["huge"].kernel == kernel
    assert by_name["small"].kernel in ("fused", "dense")
    check_costs(request, solution)
    ssd = solution.memory[:, MEMORIES.index("ssd")]
    assert (ssd.sum() >= 256 * 10**9) == (kernel == "key_value")
    file = describe_plan(request, solution, tables, 0)
    assert memory_by_kind(file).sum(axis=0).tolist() == solution.memory.tolist()
    # Its options and its price are found again.
    options = alternatives(file, "huge")
    assert {one.kernel for one in options if one.chosen} == {kernel}
    assert {"fused", "fused_uvm"} <= {one.kernel for one in options if not one.allowed}
    assert repriced(file, cluster).tables == file.tables
    kernels = {option.kernel for option in price(request.changed(rules=())).options.options}
    assert kernels.isdisjoint(ASKED_FOR)


def test_rows_on_ssd_need_one_that_has_room() -> None:
    rules = (Rule(tables="huge", kernels=("key_value",)),)
    tables = [ListedTable(name="huge", rows=10**9, dim=64)]
    cluster = load_cluster("a100-40-2x1")
    with pytest.raises(ValueError, match=r"leave it no option; without them: .*fused_uvm"):
        find_plan(request_of(tables, cluster, rules=rules), SHORT)
    large = cluster.model_copy(update={"ssd_gb": 2000.0})
    request = request_of(tables, large, rules=rules)
    file = describe_plan(request, find_plan(request, SHORT), tables, 0)
    with pytest.raises(ValueError, match=r"has no option of \w+, key_value; allow more"):
        repriced(file, cluster)
    small = cluster.model_copy(update={"ssd_gb": 100.0})
    with pytest.raises(Infeasible, match="of SSD"):
        find_plan(request_of(tables, small, rules=rules), SHORT, diagnosis_seconds=0)
