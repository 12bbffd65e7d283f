"""`homerec train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from launchers.cli.command import Overrides
from launchers.cli.table_actions import ensure_data
from launchers.local.processes import die_with_parent
from pipeline.io.errors import UserError
from pipeline.io.import_time import no_garbage_collection
from pipeline.io.restarts import is_restart


def train(
    recipe: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    resume_auto: Annotated[bool, Parameter(show=False)] = False,
    overwrite: bool = False,
    follow: bool = False,
    overrides: Overrides = (),
) -> int:
    """Train a recipe, in one process or as one rank of 'homerec launch' or torchrun.

    Args:
        recipe: demo, debug, kuairand or auto (default: demo, or as in --config).
        config: YAML file overriding the recipe.
        out: folder of the run (default: runs/RECIPE).
        resume: continue from the newest checkpoint in --out with its configuration;
            '--resume auto' starts a new run if there is no checkpoint yet.
        overwrite: replace the run in --out.
        follow: train on rows that are added to the table, window by window, until a signal; with
            '--resume' after the training on the prepared rows.
    """
    from pipeline.config.overrides import configure, default_folder
    from pipeline.io.set_aside import saved_by_this_job

    if (resume or resume_auto) and overwrite:
        raise UserError("command line: --resume and --overwrite contradict each other")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # A killed agent cannot stop its ranks: they would continue next to a new start.
        die_with_parent()
    must_exist = resume and not resume_auto
    restarted = is_restart()
    if overwrite and restarted:
        overwrite = not saved_by_this_job(out or default_folder(recipe, config))
    resume_run: bool | Literal["auto"] = False
    if must_exist or resume_auto or (restarted and not overwrite):
        resume_run = True if must_exist else "auto"
    tree, folder = configure(
        recipe, config, out, overrides, resume=bool(resume_run), must_exist=must_exist
    )
    if not (follow and (tree.data.path / "schema.json").is_file()):  # files are being added
        ensure_data(tree)
    # Imported late because they import torch: a mistyped field is reported at once.
    with no_garbage_collection():
        from pipeline.ranks.world import open_world

        if follow:
            from pipeline.follow.follow import follow as train_run
        else:
            from pipeline.train import train as train_run

    with open_world(tree.train.timeout) as world:
        return train_run(tree, folder, world, resume=resume_run, overwrite=overwrite)
