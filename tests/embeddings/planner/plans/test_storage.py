"""What memory is for agrees with TorchRec's estimates of the same plan for another batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings

from embeddings.config import SHARDING_TYPES
from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.storage import KINDS, fullest, memory_by_kind
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import (
    clusters,
    listed_tables,
    request_of,
    some_cluster,
    stock_view,
)


def test_the_fullest_rank_is_the_one_closest_to_its_own_memory() -> None:
    used = np.array([[8, 0, 5], [20, 0, 7], [0, 0, 6]])
    room = np.array([[10, 0, 9], [80, 0, 9], [40, 0, 9]])
    assert fullest(used, room).tolist() == [0, 0, 1]


CACHED = "fused_uvm_caching"


def check_kinds(tables: list[ListedTable], cluster: Cluster, rule: Rule) -> set[str]:
    """Of the plan that a rule leaves; the kernels in it."""
    request = request_of(tables, cluster, rules=(rule,))
    request = request.changed(usage=offered(request.usage, (rule,)))
    solution = find_plan(request, Budget(rounds=20), diagnosis_seconds=0)
    file = describe_plan(request, solution, tables, seed=0)
    kinds = memory_by_kind(file)
    used, _ = file.memory()
    assert (kinds.sum(axis=0) == used).all()
    # Buffers, and they alone, double with the batch.
    doubled = stock_view(request.changed(batch_size=2 * request.batch_size), solution)
    theirs = np.zeros_like(used)
    for option in doubled.values():
        for shard in option.shards:
            theirs[shard.rank] += shard.storage.hbm, shard.storage.ddr, shard.storage.ssd
    shards = sum(len(option.shards) for option in doubled.values())
    assert theirs - used == pytest.approx(kinds[KINDS.index("buffers and caches")], abs=4 * shards)
    return {placed.compute_kernel for placed in file.tables}


@given(listed_tables(), clusters())
@settings(max_examples=5, deadline=None)
def test_buffers_grow_with_the_batch_and_nothing_else_does(
    tables: list[ListedTable], cluster: Cluster
) -> None:
    try:
        check_kinds(tables, cluster, Rule(tables="*", forbid_kernels=(CACHED,)))
    except Infeasible:
        reject()


@pytest.mark.parametrize("sharding_type", SHARDING_TYPES)
def test_so_for_every_sharding_type(sharding_type: str) -> None:
    tables = [
        ListedTable(name="a", rows=1003, dim=256, optimizer="rowwise_adagrad"),
        ListedTable(name="b", rows=1003, dim=256, optimizer="adam"),
        ListedTable(name="c", rows=1003, dim=256, optimizer="sgd"),
    ]
    cluster = some_cluster(hosts=2, devices=2, hbm_gb=40.0)
    check_kinds(tables, cluster, Rule(tables="*", types=(sharding_type,), forbid_kernels=(CACHED,)))


@pytest.mark.parametrize("kernel", ["fused", "fused_uvm"])
def test_weights_lie_where_the_kernel_keeps_them(kernel: str) -> None:
    tables = [ListedTable(name="a", rows=1000, dim=64, optimizer="adam", dtype="fp16")]
    cluster = some_cluster(hosts=1, devices=2, hbm_gb=40.0)
    rule = Rule(tables="a", types=("table_wise",), kernels=(kernel,))
    assert check_kinds(tables, cluster, rule) == {kernel}
    request = request_of(tables, cluster, rules=(rule,))
    request = request.changed(usage=offered(request.usage, (rule,)))
    file = describe_plan(request, find_plan(request, Budget(rounds=1)), tables, seed=0)
    weights, state, _ = memory_by_kind(file).sum(axis=1).tolist()
    whole = 1000 * 64 * 2
    assert weights == ([whole, 0, 0] if kernel == "fused" else [0, whole, 0])
    assert state == [2 * there for there in weights]


def test_a_cache_is_beside_the_weights() -> None:
    tables = [ListedTable(name="a", rows=100_000, dim=64)]
    cluster = some_cluster(hosts=1, devices=1, hbm_gb=40.0)
    rule = Rule(tables="a", kernels=(CACHED,))
    request = request_of(tables, cluster, rules=(rule,))
    request = request.changed(usage=offered(request.usage, (rule,)))
    file = describe_plan(request, find_plan(request, Budget(rounds=1)), tables, seed=0)
    weights, state, rest = memory_by_kind(file)[:, 0].tolist()
    assert weights == [0, 100_000 * 64 * 4, 0]
    assert state == [0, 100_000 * 4, 0]
    assert rest[0] > 0.2 * weights[1]  # TorchRec's default: a fifth of it is cached
    assert rest[1:] == [0, 0]
