"""Describes a solution as a plan file."""

from __future__ import annotations

from collections.abc import Sequence

from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile, PredictedRank
from embeddings.planner.plans.solution import Solution


def describe_plan(
    request: PlanRequest, solution: Solution, tables: Sequence[ListedTable], seed: int
) -> PlanFile:
    """Return the plan file. `tables`: those of `request`, in any order."""
    listed = {table.name: table for table in tables}
    placed = []
    for choice, option in zip(solution.choices, solution.options, strict=True):
        # These are not stored in a file and never set here.
        assert option.key_value_params is None, option.name
        sizes = [shard.size[0] for shard in option.shards]
        table = listed[choice.table]
        placed.append(
            PlacedTable(
                table=table,
                path=choice.path,
                sharding_type=choice.sharding_type,
                compute_kernel=choice.kernel,
                width=choice.width,
                rows=runs_of_equal(sizes[: len(sizes) // (table.dim // choice.width)]),
                ranks=ranges(choice.ranks),
                shard_ms=choice.perf,
                sync_ms=choice.sync,
            )
        )
    return PlanFile(
        cluster=request.group,
        full_cluster=request.cluster if request.setup.replica_groups > 1 else None,
        setup=request.setup,
        batch_size=request.batch_size,
        rules=tuple(request.rules),
        seed=seed,
        rounds=solution.rounds,
        cut_off=solution.cut_off,
        time_ms=solution.time,
        lower_bound_ms=solution.lower_bound,
        tables=tuple(placed),
        ranks=tuple(PredictedRank(**rank) for rank in solution.summary()["ranks"]),
    )


def runs_of_equal(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """[5, 5, 4] -> ((5, 2), (4, 1))."""
    runs: list[tuple[int, int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1] = (size, runs[-1][1] + 1)
        else:
            runs.append((size, 1))
    return tuple(runs)


def ranges(ranks: Sequence[int]) -> str:
    """[0, 1, 2, 9] -> '0-2,9'."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
