"""`homerec score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from launchers.cli.command import Natural
from pipeline.io.errors import UserError
from pipeline.io.import_time import no_garbage_collection


def score(
    *,
    model: Path | None = None,
    checkpoint: str | None = None,
    input: Annotated[list[str], Parameter(consume_multiple=True)],
    out: Path,
    keep: Annotated[list[str], Parameter(consume_multiple=True)] | None = None,
    threads: Natural = 0,
    overwrite: bool = False,
) -> int:
    """Score files: the probability of every task and the ranking score of each row, as Parquet.

    Args:
        model: folder written by 'homerec export'.
        checkpoint: a run or checkpoint, instead of a model; it is exported to a temporary folder.
        input: files, folders or patterns; Parquet, CSV, Arrow, JSON lines or Delta.
        out: folder for one Parquet file per input file. A repeated command continues.
        keep: columns of the input to copy, such as ids.
        threads: threads that score (default: one per core).
        overwrite: replace files that another model scored.
    """
    if (model is None) == (checkpoint is None):
        raise UserError("command line: give --model or --checkpoint, one of them")
    with no_garbage_collection():
        from launchers.cli.model.model_of import model_of
        from launchers.cli.model.score_progress import Progress
        from pipeline.data.sources.config import FilesConfig
        from pipeline.io.console import plain_console, print_line
        from pipeline.scoring.files import score_files

    with model_of(model, checkpoint) as folder:
        done = score_files(
            folder,
            FilesConfig(path=tuple(input)),
            out,
            keep=tuple(keep or ()),
            threads=threads,
            overwrite=overwrite,
            progress=Progress(),
        )
    skipped = f", {done.skipped} files were complete" if done.skipped else ""
    print_line(
        plain_console(), f"scored {done.rows:,} rows of {done.files} files in {out}{skipped}"
    )
    return 0
