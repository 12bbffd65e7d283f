"""Devices of unequal speed: each part of a plan costs what it costs where it is."""

from __future__ import annotations

import numpy as np
import pytest
from torchrec.distributed.planner.types import Perf

from embeddings.planner.advice.alternatives import alternatives
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.other_devices import OtherDevices
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.critical_path import critical_path
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.fixed_plan import repriced
from embeddings.planner.problem.options import PARTS
from embeddings.planner.problem.pricing import price
from embeddings.planner.problem.problem import FREE, Problem
from embeddings.planner.problem.speeds import speeds_of
from embeddings.planner.search.bounds import bound
from embeddings.planner.search.search import Budget, search
from tests.embeddings.planner.models import request_of, stock_view
from tests.embeddings.planner.search.test_bounds import least_peak

TABLES = [
    ListedTable(name=f"t{n}", rows=10_000 * 3**n, dim=64, pooling_factor=1 + 7 * (n % 3))
    for n in range(8)
]


def mixed(base: str = "h100-2x2", **other: float) -> Cluster:
    """Two hosts, of which the second differs."""
    return load_cluster(base).model_copy(
        update={"other_devices": (OtherDevices(hosts=(1,), **other),)}
    )


def free_problem(ms: FloatArray, of: list[int]) -> Problem:
    """Tables of one shard each, on any rank."""
    count, speed, free = len(ms), np.array(of), np.full((3, len(of)), 99)
    counts, memory = np.tile([1, 0, 0], (count, 1)), np.ones((count, 3, 3), np.int64)
    return Problem(
        hosts=1, local=len(of), free=free,
        members=tuple((i,) for i in range(count)), pins=(None,) * count,
        first=np.arange(count + 1), options=tuple((n,) for n in range(count)), types=("t",) * count,
        layout=np.full(count, FREE), blocks=np.ones(count, np.int64),
        counts=counts, memory=memory,
        time=ms.min(axis=1), speeds=speeds_of(speed, ms, free, len(of), memory, counts),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_the_search_finds_the_best_plan_of_a_small_case(seed: int) -> None:
    draw = np.random.default_rng(seed)
    problem = free_problem(draw.uniform(1, 5, (6, 2)), draw.permutation([0, 0, 1]).tolist())
    optimum = least_peak(problem)
    found = search(problem, Budget(rounds=2000, seconds=600))
    assert found.lower_bound * (1 - 1e-9) <= optimum
    assert found.time == pytest.approx(optimum)


def test_the_bound_knows_how_fast_all_ranks_are_together() -> None:
    """100 equal tables on one rank and three that take 3 times as long: 2 ranks' worth of speed."""
    problem = free_problem(np.tile([1.0, 3.0], (100, 1)), [0, 1, 1, 1])
    assert bound(problem).time == pytest.approx(50, rel=1e-3)
    assert search(problem, Budget(rounds=2000, seconds=600)).time == pytest.approx(51)


def test_each_shard_costs_what_torchrec_says_of_its_device() -> None:
    cluster = mixed(hbm_bw=800.0, intra_bw=100.0, inter_bw=5.0, hbm_gb=40.0)
    request = request_of(TABLES, cluster)
    solution = find_plan(request, Budget(rounds=500, seconds=600))
    kinds, kind = cluster.kinds()
    assert [kinds[k].hbm_bw for k in kind] == [3350, 3350, 800, 800]
    perf = np.zeros((4, len(PARTS)))
    for n, alike in enumerate(kinds):
        assert not alike.other_devices
        for option in stock_view(request.changed(cluster=alike), solution).values():
            for shard in option.shards:
                if kind[shard.rank] == n:
                    perf[shard.rank] += [getattr(shard.perf, part) for part in PARTS]
    np.testing.assert_allclose(perf, solution.perf)
    assert solution.time == pytest.approx(max(Perf(*row).total for row in perf.tolist()))
    assert solution.lower_bound <= solution.time
    file = describe_plan(request, solution, TABLES, 0)
    np.testing.assert_allclose(repriced(file, cluster).perf(), perf)
    fast = repriced(file, load_cluster("h100-2x2"))
    assert (fast.perf()[2:] <= perf[2:]).all()
    compute = perf[:, [0, 2]].max(axis=0).sum()
    assert critical_path(file).compute == pytest.approx(compute)
    for table in TABLES:
        (chosen,) = (one for one in alternatives(file, table.name) if one.chosen)
        assert chosen.plan_ms == pytest.approx(solution.time)


def test_slow_devices_get_less() -> None:
    rules = (Rule(tables="*", types=("table_wise",)),)
    tables = [ListedTable(name=f"t{n}", rows=10**6, dim=128, pooling_factor=50) for n in range(40)]
    cluster = mixed(hbm_bw=335.0, intra_bw=45.0, inter_bw=5.0)
    solution = find_plan(request_of(tables, cluster, rules=rules), Budget(rounds=1000, seconds=600))
    count = np.bincount([choice.ranks[0] for choice in solution.choices], minlength=4)
    assert count.tolist() == [19, 19, 1, 1]
    assert solution.time < 1.1 * solution.lower_bound


def test_a_table_too_large_for_fast_devices_is_bounded_by_the_slow_ones() -> None:
    cluster = mixed(hbm_bw=335.0, hbm_gb=400.0)
    rules = (Rule(tables="*", types=("table_wise",), kernels=("fused",)),)
    large = [ListedTable(name="large", rows=400_000_000, dim=128, pooling_factor=50)]
    solution = find_plan(request_of(large, cluster, rules=rules), Budget(rounds=100, seconds=600))
    assert solution.choices[0].ranks[0] in (2, 3)
    assert solution.time == pytest.approx(solution.lower_bound, rel=1e-3)


def test_a_table_split_over_a_host_is_bounded_by_a_host_that_has_room() -> None:
    """Of the fast hosts' ranks, one is too small for its part."""
    hosts = (OtherDevices(hosts=(1,), hbm_bw=335.0), OtherDevices(ranks=(0,), hbm_gb=2.0))
    cluster = load_cluster("h100-2x2").model_copy(update={"other_devices": hosts})
    rules = (Rule(tables="*", types=("table_row_wise",), kernels=("fused",)),)
    large = [ListedTable(name="large", rows=100_000_000, dim=128, pooling_factor=50)]
    solution = find_plan(request_of(large, cluster, rules=rules), Budget(rounds=100, seconds=600))
    assert solution.choices[0].ranks == (2, 3)
    assert solution.time == pytest.approx(solution.lower_bound, rel=1e-3)


def test_the_dense_kernel_is_as_much_slower_as_memory() -> None:
    cluster = load_cluster("cpu-2x1").model_copy(
        update={"other_devices": (OtherDevices(ranks=(1,), ddr_bw=8.5),)}
    )
    kinds, kind = cluster.kinds()
    costs = [alike.costs.dense_bw for alike in kinds if alike.costs]
    assert [costs[k] for k in kind] == [20, 10]
    options = price(request_of(TABLES[:1], cluster)).options
    assert options.perf.shape[1:] == (2, len(PARTS))
