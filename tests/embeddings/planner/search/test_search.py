"""When the search ends."""

from __future__ import annotations

import pytest

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_tables_need_few_rounds(count: int) -> None:
    """Below the budget, even where the bound is out of reach and roundings lower the peak."""
    tables = [
        ListedTable(name=f"t{n}", rows=10 ** (3 + n), dim=64, pooling_factor=1 + 3 * n)
        for n in range(count)
    ]
    request = request_of(tables, load_cluster("h100-4x1"))
    found, longer = (find_plan(request, Budget(rounds=rounds)) for rounds in (20_000, 40_000))
    assert found.rounds == longer.rounds < 20_000
    assert found.time == longer.time
