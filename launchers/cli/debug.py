"""`homerec debug batch FILE`: the rows that a failed step was trained on."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import new_app

app = new_app("homerec debug", "Inspect a batch that a run kept.")


@app.command
def batch(file: Path, /, *, row: int | None = None) -> int:
    """Values of a batch that a step failed on.

    Args:
        file: RUN/debug/step-...-rank....pt.
        row: the one row to show in full.
    """
    from pipeline.faults.batch_file import show_batch

    print(show_batch(file, row))  # noqa: T201
    return 0
