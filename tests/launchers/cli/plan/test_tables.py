"""What a plan's tables on the console say."""

from __future__ import annotations

import io

from rich.console import Console

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.other_devices import OtherDevices
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


def test_memory_is_that_of_the_fullest_rank() -> None:
    """Rank 0, of 1 GiB, has a tenth of what rank 1, of 80 GiB, has."""
    cluster = load_cluster("h100-2x1").model_copy(
        update={"other_devices": (OtherDevices(ranks=(0,), hbm_gb=1.0),)}
    )
    file = fixed_plan(
        [
            FixedTable(
                table=ListedTable(name=f"t{rank}", rows=rows, dim=64),
                sharding_type="table_wise",
                width=64,
                ranks=(rank,),
            )
            for rank, rows in ((0, 400_000), (1, 4_000_000))
        ],
        cluster,
        512,
    )
    out = io.StringIO()
    Console(file=out, width=120).print(*plan_view(file))
    (line,) = (line for line in out.getvalue().splitlines() if "HBM per rank" in line)
    used, room = file.memory()
    assert room[0, 0] < room[1, 0]
    assert used[0, 0] < used[1, 0]
    assert f"{used[0, 0] / 2**30:.3g} of {room[0, 0] / 2**30:.3g} GiB" in line
