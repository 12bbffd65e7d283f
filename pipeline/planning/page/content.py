"""What the page shows, as plain data: columns of tables, ranks as runs, six digits of a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from embeddings.planner.advice.alternatives import Alternative, alternatives, why
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import bytes_of, reshard
from embeddings.planner.plans.storage import KINDS, memory_by_kind
from embeddings.planner.problem.options import MEMORIES, PARTS
from pipeline.planning.page.sweep_file import SweepFile

Json = dict[str, Any]

# As the command's tables name them.
PART_NAMES = ("lookup", "exchange", "backward", "exchange back", "ids' exchange", "prefetch")


def page_data(
    plans: Sequence[tuple[str, PlanFile]], sweep: SweepFile | None, *, options: int
) -> Json:
    """`plans`: up to two, each with what to call it, the older one first. `options`: of how many
    tables of a plan, those that take the most time, all options are given.

    Raises ValueError for two plans of other tables.
    """
    assert len(plans) <= 2
    found: Json = {
        "parts": dict(zip(PARTS, PART_NAMES, strict=True)),
        "plans": [_plan(name, file, options) for name, file in plans],
        "moves": None,
        "sweep": None if sweep is None else sweep.model_dump(mode="json"),
    }
    if len(plans) == 2:
        found["moves"] = _moves(plans[0][1], plans[1][1])
    return found


def _plan(name: str, file: PlanFile, options: int) -> Json:
    used, room = file.memory()
    costly = sorted(file.tables, key=lambda placed: -placed.rated_ms * len(placed.rank_list()))
    return {
        "name": name,
        "cluster": file.cluster.model_dump(mode="json") | {"ranks": file.cluster.ranks},
        "batch_size": file.batch_size,
        "seed": file.seed,
        "rounds": file.rounds,
        "cut_off": file.cut_off,
        "rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in file.rules],
        "time_ms": _short(file.time_ms),
        "lower_bound_ms": _short(file.lower_bound_ms),
        "tables": _tables(file.tables),
        "rated": [_short(took) for took in file.rated().tolist()],
        "ms": {
            part: [_short(took) for took in column]
            for part, column in zip(PARTS, file.perf().T.tolist(), strict=True)
        }
        | {"sync": [_short(took) for took in file.sync().tolist()]},
        "used": dict(zip(MEMORIES, used.T.tolist(), strict=True)),
        "kinds": {
            memory: dict(zip(KINDS, columns, strict=True))
            for memory, columns in zip(
                MEMORIES, memory_by_kind(file).transpose(2, 0, 1).tolist(), strict=True
            )
        },
        "room": dict(zip(MEMORIES, room.T.tolist(), strict=True)),
        "options": {
            placed.table.name: _options(file, placed.table.name) for placed in costly[:options]
        },
    }


def _tables(tables: Sequence[PlacedTable]) -> Json:
    """A column a field. Their shards as the plan's file has them: `cuts` and `ranks` are runs."""
    rows = [placed.table for placed in tables]
    return {
        "name": [row.name for row in rows],
        "rows": [row.rows for row in rows],
        "dim": [row.dim for row in rows],
        "dtype": [row.dtype for row in rows],
        "features": [list(row.feature_names) for row in rows],
        "pooling": [row.pooling_factor for row in rows],
        "optimizer": [row.optimizer for row in rows],
        "unpooled": [row.unpooled for row in rows],
        "bytes": [bytes_of(row) for row in rows],
        "type": [placed.sharding_type for placed in tables],
        "kernel": [placed.compute_kernel for placed in tables],
        "width": [placed.width for placed in tables],
        "cuts": [placed.rows for placed in tables],
        "ranks": [placed.ranks for placed in tables],
        "copied": [placed.copied for placed in tables],
        "ms": [[_short(took) for took in placed.shard_ms] for placed in tables],
        "rated_ms": [_short(placed.rated_ms) for placed in tables],
    }


def _options(file: PlanFile, name: str) -> Json:
    found = alternatives(file, name)
    return {"why": why(file, name, found), "rows": [_option(one) for one in found]}


def _option(one: Alternative) -> list[Any]:
    return [
        one.sharding_type,
        one.kernel,
        one.width,
        one.shards,
        [_short(took) for took in one.perf.tolist()],
        _short(one.shard_ms),
        one.memory.tolist(),
        "chosen" if one.chosen else "" if one.allowed else "against a rule",
        None if one.plan_ms is None else _short(one.plan_ms),
    ]


def _moves(before: PlanFile, after: PlanFile) -> Json:
    found = reshard(before, after)
    return {
        "tables": [asdict(move) for move in found.moves],
        "sent": found.sent.sum(axis=1).tolist(),
        "received": found.sent.sum(axis=0).tolist(),
        "pairs": int((found.sent > 0).sum()),
        "seconds": _short(found.seconds),
        "busiest": found.busiest,
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")
