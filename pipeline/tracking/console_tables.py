"""Tables that a run prints: its sharding plan and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipeline.io.console import plain_console, print_line
from pipeline.io.text_table import add_number, add_text, text_table
from pipeline.metrics.spec import METRICS
from pipeline.metrics.without_user import rows_without_user

# Tables of a sharding plan that are shown by name.
_SHOWN = 12


def plan_table(plan: dict[str, Any]) -> Table:
    """The sharding plan for the console: a row for each of the largest tables, one for the rest."""
    view = text_table("Sharding plan", ["table"])
    for heading in ("sharding type", "kernel"):
        view.add_column(heading, no_wrap=True)
    add_text(view, "ranks")
    for heading in ("rows", "dim", "MB"):
        add_number(view, heading)
    rows = sorted(plan["tables"], key=lambda row: -int(row["bytes"]))
    for row in rows[:_SHOWN]:
        view.add_row(
            row["table"],
            row["sharding_type"],
            row["compute_kernel"],
            ",".join(map(str, row["ranks"])),
            f"{row['rows']:,}",
            str(row["dim"]),
            f"{row['bytes'] / 1e6:,.2f}",
        )
    if rest := rows[_SHOWN:]:
        total = sum(row["bytes"] for row in rest)
        view.add_row(f"{len(rest)} smaller tables", *[""] * 5, f"{total / 1e6:,.2f}")
    return view


def print_final_table(results: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Print the metrics of an evaluation, one row per task; for the oracle only AUC.

    A line follows if GAUC leaves out rows without a user, or all.
    """
    columns = {
        metric.name: metric.heading
        for metric in METRICS
        if metric.in_tables and any(metric.name in row for row in results.values())
    }
    if any(row.get("oracle_auc") is not None for row in results.values()):
        columns["oracle_auc"] = "oracle's AUC"
    table = text_table(title, ["task"], ["rows", *columns.values()])
    for task, metrics in results.items():
        values = [metrics.get(name) for name in columns]
        cells = ["-" if value is None else f"{value:.4f}" for value in values]
        table.add_row(task, f"{metrics['rows']:,}", *cells)
    console = plain_console()
    console.print(table)
    if left_out := rows_without_user(results):
        print_line(console, left_out)
