"""`homerec debug batch FILE`: print the batch of a bad step."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import new_app

app = new_app("homerec debug", "Print the batch of a bad step.")


@app.command
def batch(file: Path, /, *, row: int | None = None) -> int:
    """Print the batch of a bad step.

    Args:
        file: RUN/debug/step-...-rank....pt.
        row: index of one row to print in full.
    """
    from pipeline.faults.batch_file import show_batch

    print(show_batch(file, row))  # noqa: T201
    return 0
