"""What is measured is the plan: its bytes by rank, its exchanges, its weights."""

from __future__ import annotations

import pytest
import torch

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan
from embeddings.planner.plans.plan_file import PlanFile
from pipeline.io.errors import UserError
from pipeline.planning.calibrate import check_shape, measure_all
from pipeline.planning.measure import INSIDE, TIMED, Measured, combine, time_plan
from pipeline.planning.sharded_tables import ShardedTables
from pipeline.ranks.world import this_world
from tests.ranks import run_ranks

BATCH = 64
ROWS, DIM, POOLING = 400, 8, 3.0


def one(kind: str, width: int, ranks: tuple[int, ...], **other: object) -> FixedTable:
    table = ListedTable(name=kind, rows=ROWS, dim=DIM, pooling_factor=POOLING)
    return FixedTable(
        table=table.model_copy(update=other), sharding_type=kind, width=width, ranks=ranks
    )


PLAN = fixed_plan(
    [
        one("table_wise", DIM, (1,)),
        one("column_wise", DIM // 2, (0, 1)),
        one("row_wise", DIM, (0, 1)),
        one("data_parallel", DIM, (0, 1), optimizer="adam"),
    ],
    load_cluster("cpu-2x1"),
    BATCH,
)
ALONE = fixed_plan([one("table_wise", DIM, (0,))], load_cluster("cpu-2x1"), BATCH)
ADAM = fixed_plan([one("table_wise", DIM, (0,), optimizer="adam")], load_cluster("cpu-2x1"), BATCH)
MIXED = fixed_plan(
    [
        one("table_wise", DIM, (0,)),
        one("row_wise", DIM, (0, 1), weighted=True),
        one("column_wise", DIM // 2, (1, 0), unpooled=True),
    ],
    load_cluster("cpu-2x1"),
    BATCH,
)


def measured(rank: int, world_size: int, files: list[PlanFile]) -> list[Measured]:
    world = this_world()
    return [combine(every) for every in measure_all(files, world, rounds=2, repeats=2)]


def test_a_plans_parts_and_bytes() -> None:
    by_rank = run_ranks(measured, 2, [PLAN, ALONE, MIXED])
    assert by_rank[0] == by_rank[1]  # all ranks know all
    whole, alone, mixed = by_rank[0]
    table = ROWS * DIM * 4
    pooled = BATCH * DIM * 4
    for rank in (0, 1):
        assert set(whole.ms[rank]) == {*TIMED, *INSIDE}
        assert min(whole.ms[rank].values()) > 0
        for part in TIMED:
            assert whole.fastest[rank][part] <= whole.ms[rank][part]
        assert whole.ms[rank]["bwd_comms"] >= whole.fastest[rank]["all_reduce"]
        assert whole.bytes[rank]["gradients"] == table
    # Rank 1 holds the table-wise one, half of the others, and a copy.
    assert [rank["weights"] for rank in whole.bytes] == [2 * table, 3 * table]
    # Both ranks' samples for what lies here, half of the columns of the second; copies: its own.
    assert [rank["outputs"] for rank in whole.bytes] == [4 * pooled, 6 * pooled]
    # The third's rows are halved, so about half of its ids come; the others' all do.
    ids = [rank["ids"] / (BATCH * POOLING * 8) for rank in whole.bytes]
    assert ids == pytest.approx([2 + 1 + 1, 2 + 2 + 1 + 1], rel=0.2)
    assert whole.repeats == 4
    assert 0 < whole.step_fastest <= whole.step_ms
    assert [rank["weights"] for rank in alone.bytes] == [table, 0]
    assert alone.ms[1]["all_reduce"] == alone.bytes[1]["gradients"] == 0
    assert [rank["weights"] for rank in mixed.bytes] == [2 * table, table]


def trained(rank: int, world_size: int) -> tuple[bool, bool]:
    """Whether weights move: the lookups' own, and the copies'."""
    world = this_world()
    found = []
    for run in ("step", "parts"):
        tables = ShardedTables(PLAN, world, 0)
        replicated = [p for p in tables.model.parameters() if p.requires_grad]
        local = [t for s in tables.model.state_dict().values() for t in shards_of(s)]
        # What another rank holds is empty here.
        held = [tensor for tensor in [*replicated, *local] if tensor.numel()]
        assert len(held) >= 3
        before = [tensor.detach().clone() for tensor in held]
        getattr(tables, run)()
        found.append(all(not a.equal(b) for a, b in zip(before, held, strict=True)))
    return found[0], found[1]


def shards_of(state: object) -> list[torch.Tensor]:
    local = getattr(state, "local_shards", None)
    return [shard.tensor for shard in local()] if local else []


def test_a_step_updates_every_shard() -> None:
    assert run_ranks(trained, 2) == [(True, True), (True, True)]


def only_steps(rank: int, world_size: int) -> bool:
    timings = time_plan(ALONE, this_world(), repeats=2, warmup=0, seed=0, parts=False)
    return timings.parts == [[{}, {}]] * 2 and min(map(min, [*timings.steps, *timings.busy])) > 0


def errors(rank: int, world_size: int) -> list[str]:
    found = []
    for name in ("h100-2x1", "cpu-4x1", "cpu-1x2"):
        with pytest.raises(UserError) as caught:
            check_shape(load_cluster(name), this_world())
        found.append(str(caught.value))
    check_shape(load_cluster("cpu-2x1"), this_world())
    with pytest.raises(UserError) as caught:
        ShardedTables(ADAM, this_world(), 0)
    return [*found, str(caught.value)]


def both(rank: int, world_size: int) -> tuple[bool, list[str]]:
    return only_steps(rank, world_size), errors(rank, world_size)


def test_steps_alone_and_another_clusters_ranks() -> None:
    for steps, (device, more, hosts, optimizer) in run_ranks(both, 2):
        assert steps
        assert device.startswith("device: cuda in the cluster, cpu on the ranks here")
        assert more.startswith("ranks: 4 on 1 hosts in the cluster, 2 with 2 per host here")
        assert optimizer.startswith("table 'table_wise': optimizer adam has no fused kernel on CPU")
        assert hosts.startswith("ranks: 2 on 2 hosts in the cluster, 2 with 2 per host here")
