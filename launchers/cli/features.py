"""`homerec features`: a store of features for serving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from launchers.cli.command import new_app
from pipeline.io.import_time import no_garbage_collection

app = new_app("homerec features", "Fill a store of features, so that requests carry ids alone.")


@app.command
def load(
    *files: Annotated[str, Parameter(show=True)],
    key: str,
    model: Path,
    out: Path,
) -> int:
    """Load the columns of a table that a model reads into a store, by a key.

    Rows of this key that were in the store are replaced, all at once, when the load is complete.

    Args:
        files: files, folders or patterns; Parquet, CSV, Arrow, JSON lines or Delta.
        key: column that requests find a row by, such as video_id.
        model: folder written by 'homerec export'.
        out: folder of the store, for 'homerec serve --store'.
    """
    with no_garbage_collection():
        from launchers.cli.model.score_progress import Progress
        from pipeline.data.sources.config import FilesConfig
        from pipeline.io.console import plain_console, print_line
        from pipeline.io.errors import UserError
        from pipeline.serving.store.load import load_features

    if not files:
        raise UserError("command line: no files; give those of the table")
    done = load_features(model, FilesConfig(path=files), key, out, progress=Progress("load"))
    console = plain_console()
    repeated = f", {done.repeated} repeated, of which the last counts" if done.repeated else ""
    print_line(console, f"loaded {done.rows:,} keys into {done.path}{repeated}")
    print_line(console, f"columns: {', '.join(done.columns)}")
    if done.ignored:
        print_line(console, f"not of the model: {', '.join(done.ignored)}")
    return 0
