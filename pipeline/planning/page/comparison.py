"""Compares two plans of the same tables, and lists the tables that move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from embeddings.planner.plans.reshard import Reshard, reshard
from pipeline.io.json_types import Json
from pipeline.planning.page.numbers import (
    change,
    memory,
    milliseconds,
    number,
    plural,
    traffic,
)
from pipeline.planning.page.plan_view import PlanView
from pipeline.planning.page.rank_charts import traffic_chart
from pipeline.planning.page.table_list import Column, ListCell, Row, SortedTable


def comparison(before: PlanView, after: PlanView) -> Json:
    """Raises ValueError for plans of different tables."""
    moves = reshard(before.file, after.file)
    size = sum(move.bytes for move in moves.moves)
    busiest = moves.busiest
    sent, received = moves.sent.sum(axis=1)[busiest], moves.sent.sum(axis=0)[busiest]
    return {
        "names": [before.name, after.name],
        "lines": side_by_side(before, after),
        "summary": [
            ("tables that move", f"{len(moves.moves):,} of {len(after.file.tables):,}"),
            (
                "over links",
                f"{traffic(size)}, between {plural(int((moves.sent > 0).sum()), 'pair')} of ranks",
            ),
            ("takes about", f"{number(moves.seconds, 3)} s"),
            (
                "busiest links",
                f"rank {busiest}: sends {traffic(sent)}, receives {traffic(received)}",
            ),
        ],
        "chart": traffic_chart(moves) if size else None,
        "table": _moves(before, after, moves) if moves.moves else None,
    }


def side_by_side(before: PlanView, after: PlanView) -> list[tuple[str, str, str, str]]:
    """What it is, of either plan, and the change."""
    lines: list[tuple[str, Callable[[PlanView], float], Callable[[float], str]]] = [
        ("ranks", lambda plan: plan.world, _count),
        ("batch size per rank", lambda plan: plan.file.batch_size, _count),
        ("busiest rank", lambda plan: float(plan.load[plan.busiest]), milliseconds),
        ("mean rank", lambda plan: plan.mean, milliseconds),
        ("imbalance (busiest / mean)", lambda plan: plan.imbalance, number),
        ("lower bound", lambda plan: plan.file.lower_bound_ms, milliseconds),
    ]
    for name, i in dict.fromkeys([*before.memories(), *after.memories()]):
        lines += [
            (f"{name.upper()}, fullest rank", partial(_fullest, i), memory),
            (f"{name.upper()}, available there", partial(_available, i), memory),
        ]
    lines.append(
        ("tables and optimizer state, all copies", lambda plan: float(plan.bytes.sum()), memory)
    )
    return [
        (title, text(of(before)), text(of(after)), change(of(before), of(after)))
        for title, of, text in lines
    ]


def _fullest(memory: int, plan: PlanView) -> float:
    return float(plan.used[plan.fullest[memory], memory])


def _available(memory: int, plan: PlanView) -> float:
    """Memory of the fullest rank."""
    return float(plan.room[plan.fullest[memory], memory])


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _moves(before: PlanView, after: PlanView, found: Reshard) -> SortedTable:
    columns = (
        Column("table"),
        Column("from"),
        Column("to"),
        Column("over links", True, "weights and optimizer state"),
        Column("ms before", True, "all shards together"),
        Column("ms after", True, "all shards together"),
    )
    took = [
        {
            placed.table.name: float(ms)
            for placed, ms in zip(plan.file.tables, plan.took, strict=True)
        }
        for plan in (before, after)
    ]
    rows = tuple(
        Row((
            ListCell(move.table),
            ListCell(move.before),
            ListCell(move.after),
            ListCell(traffic(move.bytes), move.bytes),
            *(ListCell(number(of[move.table]), of[move.table]) for of in took),
        ))
        for move in sorted(found.moves, key=lambda move: -move.bytes)
    )  # fmt: skip
    return SortedTable("Tables that move", columns, rows, 3)
