"""What a plan's tables on the console say."""

from __future__ import annotations

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan
from launchers.cli.plan.tables import plan_view


def lines(pooling: float, intra_bw: float) -> list[str]:
    cluster = load_cluster("h100-2x1").model_copy(update={"intra_bw": intra_bw})
    table = ListedTable(name="long", rows=1000, dim=4, pooling_factor=pooling)
    one = FixedTable(table=table, sharding_type="table_wise", width=4, ranks=(1,))
    return [part for part in plan_view(fixed_plan([one], cluster, 512)) if isinstance(part, str)]


def test_ids_that_take_longer_than_the_step_are_told() -> None:
    """Of 2,000 ids a sample, only sixteen bytes come back."""
    (_, told) = lines(2000.0, 1.0)
    assert told.startswith("The exchange of ids takes ")
    assert " ms on rank 1, longer than the step of " in told
    assert told.endswith("Most of it on that rank: long.")
    assert len(lines(1.0, 450.0)) == 1
