"""`homerec train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from launchers.cli.command import Overrides
from launchers.local.processes import die_with_parent
from pipeline.io.errors import UserError

# Where a restart, a requeue or a retry shows: a variable, and what it is on the first start.
_STARTS = {"TORCHELASTIC_RESTART_COUNT": 0, "SLURM_RESTART_COUNT": 0, "AWS_BATCH_JOB_ATTEMPT": 1}


def train(
    recipe: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    resume_auto: Annotated[bool, Parameter(show=False)] = False,
    overwrite: bool = False,
    overrides: Overrides = (),
) -> int:
    """Train a recipe: one process, or one rank of 'homerec launch' or torchrun.

    Args:
        recipe: demo, debug or kuairand (default: demo, or as in --config).
        config: YAML file laid over the recipe.
        out: folder of the run (default: runs/RECIPE).
        resume: continue from the newest checkpoint in --out, with its configuration;
            '--resume auto': or start, if the run has saved none yet.
        overwrite: replace the run in --out.
    """
    from pipeline.config.overrides import configure

    if (resume or resume_auto) and overwrite:
        raise UserError("command line: --resume and --overwrite contradict each other")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # An agent that is killed cannot end its ranks: they would train on beside a new start.
        die_with_parent()
    # torchrun and schedulers start ranks again with the same words: they resume, replace nothing.
    again = any(int(os.environ.get(name, 0)) > first for name, first in _STARTS.items())
    must_exist = resume and not resume_auto
    go_on: bool | Literal["auto"] = must_exist or ("auto" if resume_auto or again else False)
    tree, folder = configure(
        recipe, config, out, overrides, resume=bool(go_on), must_exist=must_exist
    )
    # Only now, as they import torch: a mistyped field answers at once.
    from pipeline.ranks.world import open_world
    from pipeline.train import train as train_run

    with open_world(tree.train.timeout) as world:
        return train_run(tree, folder, world, resume=go_on, overwrite=overwrite and not again)
