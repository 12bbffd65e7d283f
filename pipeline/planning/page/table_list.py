"""Sortable tables of the page, and the data of a plan's map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.reshard import bytes_of
from pipeline.io.json_types import Json
from pipeline.planning.page.numbers import memory, number, percent, plural
from pipeline.planning.page.plan_view import PlanView


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    number: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True)
class ListCell:
    """`value`: sort key; None: the text."""

    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[ListCell, ...]
    index: int = 0
    """Index of the table in the plan."""
    detail: Json | None = None


@dataclass(frozen=True, slots=True)
class SortedTable:
    """Rows are sorted by column `by`, largest first if `descending`."""

    label: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    by: int
    descending: bool = True


_COLUMNS = (
    Column("table"),
    Column("rows", True),
    Column("dim", True),
    Column("dtype"),
    Column("features", True),
    Column("sharding type"),
    Column("kernel"),
    Column("shards", True),
    Column("ranks", True, "sorted by the first of them"),
    Column("memory", True, "weights and optimizer state of all shards and copies"),
    Column("ms per shard", True),
    Column("share of time", True, "of the time of all ranks together"),
)


def table_list(plan: PlanView, costly: Sequence[int], options: int) -> SortedTable:
    """The tables of a plan in the order of `costly`, the first `options` with their options."""
    total = float(plan.took.sum())
    rows = []
    for place, i in enumerate(costly):
        placed = plan.file.tables[i]
        table, shards = placed.table, placed.rank_list()
        features = table.feature_names
        slowest = float(plan.slowest[i])
        one = features[0] if len(features) == 1 and features[0] != table.name else ""
        cells = (
            ListCell(table.name),
            ListCell(f"{table.rows:,}", table.rows),
            ListCell(str(table.dim), table.dim),
            ListCell(table.dtype),
            ListCell(one[:24] or str(len(features)), len(features)),
            ListCell(placed.sharding_type),
            ListCell(placed.compute_kernel),
            ListCell(f"{len(shards):,}", len(shards)),
            ListCell(_ranks(placed, plan.world), shards[0]),
            ListCell(memory(plan.bytes[i]), float(plan.bytes[i])),
            ListCell(number(slowest), slowest),
            ListCell(percent(plan.took[i] / total if total else 0), float(plan.took[i])),
        )
        rows.append(Row(cells, i, plan.detail(placed, with_options=place < options)))
    return SortedTable(f"Tables of {plan.name}", _COLUMNS, tuple(rows), len(_COLUMNS) - 1)


def _ranks(placed: PlacedTable, world: int) -> str:
    found = len(set(placed.rank_list()))
    if found == world > 1:
        return f"all {world:,}"
    return placed.ranks if len(placed.ranks) <= 18 else plural(found, "rank")


def map_data(plan: PlanView) -> Json:
    """Return ranks, and name, features, option and runs of shards of every table."""
    return {
        "ranks": plan.world,
        "local": plan.local,
        "load": [float(f"{took:.6g}") for took in plan.load.tolist()],
        "tables": [
            {
                "name": placed.table.name,
                "features": list(placed.table.feature_names),
                "type": placed.sharding_type,
                "kernel": placed.compute_kernel,
                "ms": float(f"{slowest:.6g}"),
                "bytes": list(bytes_of(placed.table)),
                "copied": placed.copied,
                "runs": runs(placed),
            }
            for placed, slowest in zip(plan.file.tables, plan.slowest.tolist(), strict=True)
        ],
    }


def runs(placed: PlacedTable) -> list[list[int]]:
    """Shards of equal size below each other on neighboring ranks as one entry: first rank, number
    of ranks, first row, rows of a shard, first column, columns of a shard."""
    found: list[list[int]] = []
    below = -1  # the row that continues the last run
    for rank, (row, column, rows, columns) in zip(
        placed.rank_list(), placed.rectangles().tolist(), strict=not placed.copied
    ):
        last = found[-1] if found else None
        if (
            last
            and rank == last[0] + last[1]
            and last[3:] == [rows, column, columns]
            and row == (last[2] if placed.copied else below)
        ):
            last[1] += 1
        else:
            found.append([rank, 1, row, rows, column, columns])
        below = row + rows
    return found
