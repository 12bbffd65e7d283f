"""A plan given table by table is priced as the search prices what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.costs import Costs, Shares
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan, repriced
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import clusters, listed_tables, request_of, uncalibrated

TABLE = ListedTable(name="a", rows=1000, dim=64, pooling_factor=5)


def found(tables: list[ListedTable], cluster: Cluster) -> PlanFile:
    request = request_of(tables, cluster)
    solution = find_plan(request, Budget(rounds=50), diagnosis_seconds=0)
    return describe_plan(request, solution, tables, seed=0)


@given(listed_tables(), clusters())
@settings(max_examples=5, deadline=None)
def test_a_found_plan_costs_the_same_again(tables: list[ListedTable], cluster: Cluster) -> None:
    try:
        file = found(tables, cluster)
    except Infeasible:
        return
    again = repriced(file, cluster)
    assert again.sharding_plan() == file.sharding_plan()
    np.testing.assert_allclose(again.perf(), file.perf())
    assert again.tables == file.tables
    assert [rank.bytes for rank in again.ranks] == [rank.bytes for rank in file.ranks]
    # Constants at their defaults are TorchRec's.
    own = cluster.model_copy(update={"costs": Costs()})
    np.testing.assert_allclose(repriced(file, own).perf(), file.perf())


def test_a_search_counts_with_the_clusters_constants() -> None:
    """Exchanges that cost nothing for copies alone: all tables become copies."""
    cluster = uncalibrated("cpu-4x1")
    free = Costs(
        shares=Shares(all_to_all=1e-9, reduce_scatter=1e-9, all_gather=1e-9, all_reduce=1e9),
        dense_bw=1e9,
    )
    tables = [TABLE, TABLE.model_copy(update={"name": "b"})]
    with_own = found(tables, cluster.model_copy(update={"costs": free}))
    assert {placed.sharding_type for placed in with_own.tables} == {"data_parallel"}
    assert {placed.sharding_type for placed in found(tables, cluster).tables} != {"data_parallel"}


def test_links_and_shares_reach_the_estimate() -> None:
    cluster = uncalibrated("cpu-2x1")
    file = fixed_plan(
        [FixedTable(table=TABLE, sharding_type="table_wise", width=64, ranks=(1,))], cluster, 256
    )
    half = cluster.model_copy(update={"costs": Costs(shares=Shares(all_to_all=0.5))})
    before, after = file.ranks[1].ms, repriced(file, half).ranks[1].ms
    assert after["fwd_comms"] == pytest.approx(2 * before["fwd_comms"])
    assert after["fwd_compute"] == before["fwd_compute"]
    assert not any(file.ranks[0].ms.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 24}, "table 'a': no column_wise shards of 24 columns; give a width"),
        ({"ranks": (0,)}, "table 'a': 1 ranks for 2 shards"),
    ],
)
def test_what_cannot_be_is_rejected(change: dict[str, object], words: str) -> None:
    one = {"table": TABLE, "sharding_type": "column_wise", "width": 32, "ranks": (0, 1)} | change
    with pytest.raises(ValueError, match="table 'a'") as caught:
        fixed_plan([FixedTable(**one)], uncalibrated("cpu-2x1"), 256)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_another_clusters_shape_is_rejected() -> None:
    file = fixed_plan(
        [FixedTable(table=TABLE, sharding_type="table_wise", width=64, ranks=(1,))],
        uncalibrated("cpu-2x1"),
        256,
    )
    with pytest.raises(ValueError, match="devices_per_host: 3 in the cluster and 2 in the plan"):
        repriced(file, load_cluster("cpu-3x1"))
    with pytest.raises(ValueError, match="device: cuda in the cluster and cpu in the plan"):
        repriced(file, load_cluster("h100-2x1"))
