"""What `homerec prepare` shows: a progress bar and a summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.io.text_table import text_table

Progressed = Callable[[int, int, str], None]
"""Rows done, rows in all, what is being done."""


def run_prepare(
    out: Path, prepare: Callable[[Progressed], Schema], *, reads: Sequence[Path | None] = ()
) -> int:
    """Call `prepare` with a function that it reports its progress to; returns the exit code.

    `reads`: the folders that it reads.
    """
    for path in (out, *reads):
        if path is not None:
            _check_name(path)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        line = bar.add_task("reading", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=what)

        schema = prepare(progress)
    console = Console()
    console.print(_summary(schema))
    if not schema.splits["test"].rows:
        console.print("note: no day of the data falls into the test split")
    console.print(
        f"{out}: {len(schema.sparse)} sparse features on {len(schema.tables)} tables, "
        f"{len(schema.dense)} dense, {len(schema.labels)} labels"
    )
    return 0


def _check_name(path: Path) -> None:
    """Polars takes names as UTF-8, whatever the locale's encoding."""
    if os.fsencode(path) != str(path).encode("utf-8"):
        raise UserError(
            f"{path}: not a name that Polars can open in this locale, whose encoding is "
            f"{sys.getfilesystemencoding()}; use ASCII letters, or set LC_ALL=C.UTF-8"
        )


def _summary(schema: Schema) -> Table:
    """Rows a split, and each label's rate in it."""
    view = text_table(schema.dataset, ["label"], schema.splits)
    view.add_row("rows", *(f"{split.rows:,}" for split in schema.splits.values()))
    for label in schema.labels:
        view.add_row(
            label.name,
            *(
                f"{100 * split.positives.get(label.name, 0) / split.rows:.2f}%"
                if split.rows
                else "-"
                for split in schema.splits.values()
            ),
        )
    return view
