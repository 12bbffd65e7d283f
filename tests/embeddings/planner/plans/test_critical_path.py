"""The critical path is TorchRec's; the exchange of ids is that of the rank with most of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from torchrec.distributed.planner.stats import _calculate_critical_path

from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.critical_path import critical_path, slowest_ids
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import clusters, listed_tables, request_of


@given(listed_tables(8), clusters())
@settings(max_examples=15, deadline=None)
def test_the_critical_path_is_that_of_torchrec(tables: list[ListedTable], cluster: Cluster) -> None:
    request = request_of(tables, cluster)
    try:
        solution = find_plan(request, Budget(rounds=50), diagnosis_seconds=0)
    except Infeasible:
        return
    file = describe_plan(request, solution, tables, 0)
    found, theirs = critical_path(file), _calculate_critical_path(solution.options)
    assert found.compute == pytest.approx(theirs.comp_estimate, rel=1e-12)
    assert found.comms == pytest.approx(theirs.comms_estimate, rel=1e-12)
    assert found.total == pytest.approx(theirs.total(), rel=1e-12)
    took, rank = slowest_ids(file)
    assert took == solution.perf[:, 4].max() == solution.perf[rank, 4]
