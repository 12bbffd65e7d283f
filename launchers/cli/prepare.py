"""The `prepare` subcommand: raw data to a prepared folder, with a bar and a summary."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from pipeline.data.schema import Schema


def prepare(args: argparse.Namespace) -> int:
    """Prepare what `args.kind` names. Returns the exit code."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        line = bar.add_task("reading", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=what)

        if args.kind == "kuairand":
            from pipeline.data.prepare.kuairand import prepare_kuairand

            schema = prepare_kuairand(
                args.raw,
                args.out,
                val_from=args.val_from,
                test_from=args.test_from,
                max_history=args.max_history,
                min_count=args.min_count,
                smoothing=args.smoothing,
                held=[name.strip() for name in args.held.split(",") if name.strip()],
                vocabulary_from=args.vocabulary_from,
                overwrite=args.overwrite,
                progress=progress,
            )
        else:
            from pipeline.data.prepare.synthetic import prepare_synthetic

            schema = prepare_synthetic(
                args.out,
                rows=args.rows,
                seed=args.seed,
                overwrite=args.overwrite,
                progress=progress,
            )
    console = Console()
    console.print(_summary(schema))
    if not schema.splits["test"].rows:
        console.print("note: no day of the data falls into the test split")
    console.print(
        f"{args.out}: {len(schema.sparse)} sparse features on {len(schema.tables)} tables, "
        f"{len(schema.dense)} dense, {len(schema.labels)} labels"
    )
    return 0


def _summary(schema: Schema) -> Table:
    """Rows a split, and each label's rate in it."""
    view = Table(title=schema.dataset, title_justify="left")
    view.add_column("label")
    for name in schema.splits:
        view.add_column(name, justify="right")
    view.add_row("rows", *(f"{split.rows:,}" for split in schema.splits.values()), end_section=True)
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
