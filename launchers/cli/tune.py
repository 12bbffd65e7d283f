"""`homerec tune`: searches hyperparameters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from launchers.cli.command import Natural, Overrides, Positive
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode


def tune(
    recipe: str | None = None,
    /,
    *,
    search: tuple[str, ...] = (),
    trials: Positive | None = None,
    jobs: Positive | None = None,
    nproc: Positive | None = None,
    config: Path | None = None,
    out: Path | None = None,
    pruner: Literal["median", "none"] | None = None,
    startup: Positive | None = None,
    seed: Natural | None = None,
    scheduler: str = "local_cwd",
    resume: bool = False,
    overrides: Overrides = (),
) -> int:
    """Search for a better configuration; trials are compared by train.select on the validation
    split. Any --section.field VALUE ('homerec train --help' lists them) applies to all trials.

    Args:
        recipe: recipe of all trials (default: demo).
        search: field to vary, FIELD=VALUES, where VALUES is LOW:HIGH, LOW:HIGH:log,
            LOW:HIGH:STEP, A,B,C or, for values with commas, A|B,C|D; repeatable, once per field.
        trials: total number of trials, including those before --resume (default: 20).
        jobs: number of parallel trials (default: 1).
        nproc: ranks of each trial (default: 1).
        config: YAML file overriding the recipe.
        out: folder of the search (default: runs/tune-RECIPE).
        pruner: median: stop a trial whose best metric is below the median of the finished ones
            after as many rows; none: never stop (default: median).
        startup: number of finished trials before a trial may be stopped (default: 5).
        seed: seed of the search (default: 0).
        scheduler: TorchX scheduler; only local_cwd, this machine.
        resume: continue the search in --out with its settings; options override them.
    """
    settings = {
        "trials": trials,
        "jobs": jobs,
        "nproc": nproc,
        "seed": seed,
        "startup": startup,
        "pruner": pruner,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    _check(given, scheduler)
    from launchers.experiments.engine import run_experiment
    from pipeline.config.overrides import resolve
    from pipeline.experiments.search import Settings
    from pipeline.experiments.search_folder import resume_search, start_search
    from pipeline.experiments.search_report import best_table

    folder = out or Path("runs") / f"tune-{recipe or 'demo'}"
    if search or not resume:
        given["search"] = list(search)
    if resume:
        opened = resume_search(folder, given, recipe, config, overrides)
    else:
        base = resolve(recipe, config, overrides)
        opened = start_search(folder, base, overrides, Settings(**given))
    console = open_console()
    with opened as running:
        stopped_by = run_experiment(
            running, jobs=running.settings.jobs, nproc=running.settings.nproc, console=console
        )
        found = running.write_pages()
    console.print(best_table(found))
    if stopped_by:
        print_line(
            console, f"stopped; resume with: homerec tune --out {shlex.quote(str(folder))} --resume"
        )
        return ExitCode.STOPPED
    if found["best"] is None:
        failed = [trial for trial in found["trials"] if trial["state"] == "failed"]
        first = f"{failed[0]['run']}: {failed[0]['error']}"
        raise UserError(f"{folder}: all {len(failed)} trials failed; first: {first}")
    print_line(console, f"best:    trial {found['best']}, {folder / 'best.yaml'}")
    print_line(console, f"train:   homerec train --config {shlex.quote(str(folder / 'best.yaml'))}")
    print_line(console, f"report:  {folder / 'report.html'}")
    return 0


def _check(given: Mapping[str, Any], scheduler: str) -> None:
    if scheduler != "local_cwd":
        raise UserError(
            f"command line: --scheduler {scheduler}: trials run on this machine only "
            "(local_cwd); run 'homerec tune' inside an allocation of the cluster"
        )
