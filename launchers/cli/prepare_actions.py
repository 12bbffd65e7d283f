"""Implements `homerec prepare`: a progress bar and a summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.data.schema import Schema
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.io.text_table import text_table

Progressed = Callable[[int, int, str], None]
"""Called with rows done, total rows and a description."""


def run_prepare(
    out: Path, prepare: Callable[[Progressed], Schema], *, reads: Sequence[Path | None] = ()
) -> int:
    """Call `prepare` with a progress callback and return the exit code.

    `reads`: the folders that it reads.
    """
    for path in (out, *reads):
        if path is not None:
            _check_name(path)
    with progress_bar() as progress:
        schema = prepare(progress)
    console = plain_console()
    console.print(_summary(schema))
    if not schema.splits["test"].rows:
        print_line(console, "note: the test split has no rows")
    print_line(
        console,
        f"{out}: {len(schema.sparse)} sparse features in {len(schema.tables)} tables, "
        f"{len(schema.dense)} dense, {len(schema.labels)} labels",
    )
    return 0


@contextmanager
def progress_bar() -> Iterator[Progressed]:
    """Show a bar of rows on stderr."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=plain_console(stderr=True)) as bar:
        line = bar.add_task("reading", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=what)

        yield progress


def _check_name(path: Path) -> None:
    """Check that Polars can open the paths: it encodes them as UTF-8 in every locale."""
    if os.fsencode(path) != str(path).encode("utf-8"):
        raise UserError(
            f"{path}: Polars cannot open this path in this locale (encoding "
            f"{sys.getfilesystemencoding()}); use ASCII letters, or set LC_ALL=C.UTF-8"
        )


def _summary(schema: Schema) -> Table:
    """Return a table with the rows of each split and the rate of each label."""
    view = text_table(schema.dataset, ["label"], schema.splits)
    view.add_row("rows", *(f"{split.rows:,}" for split in schema.splits.values()))
    for label in schema.labels:
        view.add_row(
            label.name,
            *(
                f"{100 * split.positives.get(label.name, 0) / known:.2f}%" if known else "-"
                for split in schema.splits.values()
                for known in [split.rows - split.missing.get(label.name, 0)]
            ),
        )
    return view
