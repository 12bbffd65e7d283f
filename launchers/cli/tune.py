"""`homerec tune`: many runs in search of a better configuration. Its options."""

from __future__ import annotations

import argparse
from pathlib import Path

from launchers.local.console import open_console, say
from pipeline.io.errors import UserError

_LOWEST = {"trials": 1, "jobs": 1, "nproc": 1, "seed": 0, "startup": 1}
_SETTINGS = (*_LOWEST, "pruner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand. Imports no Optuna: help must come at once.

    An option that is not given is None: --resume then takes what the search was begun with.
    """
    parser.formatter_class = argparse.HelpFormatter
    parser.add_argument("recipe", nargs="?", help="what all trials begin from (default: demo)")
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="a field to vary: LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP, A,B,C or A|B,C|D where "
        "values hold commas; once for each field",
    )
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="trials in all, also over several --resume (default: 20)",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="trials at a time (default: 1)")
    parser.add_argument("--nproc", type=int, metavar="N", help="ranks each (default: 1)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML tree laid over the recipe"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the search (default: runs/tune-RECIPE)"
    )
    parser.add_argument(
        "--pruner",
        choices=("median", "none"),
        help="median: stop a trial whose best figure is below the median of the finished ones at "
        "as many rows (default)",
    )
    parser.add_argument(
        "--startup",
        type=int,
        metavar="N",
        help="finished trials before one is stopped (default: 5)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of what is tried (default: 0)")
    parser.add_argument(
        "--scheduler",
        default="local_cwd",
        help="of TorchX; trials run on this machine alone: local_cwd",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out")
    parser.epilog = (
        "Any --section.field VALUE ('homerec train --help' lists them) holds for all trials. "
        "Trials are compared by --train.select on the validation split."
    )


def run(args: argparse.Namespace) -> int:
    """Search, or resume one. Returns the exit code: 0; 128 + number after a signal.

    UserError for what cannot be searched, before anything runs; also if every trial failed.
    """
    _check(args)
    from launchers.experiments.engine import run_experiment
    from pipeline.config.overrides import resolve
    from pipeline.experiments.search import Settings
    from pipeline.experiments.search_folder import resume_search, start_search
    from pipeline.experiments.search_report import best_table

    folder: Path = args.out or Path("runs") / f"tune-{args.recipe or 'demo'}"
    given = {name: value for name in _SETTINGS if (value := getattr(args, name)) is not None}
    given |= {"search": args.search} if args.search or not args.resume else {}
    if args.resume:
        opened = resume_search(folder, given, args.recipe, args.config, args.overrides)
    else:
        base = resolve(args.recipe, args.config, args.overrides)
        opened = start_search(folder, base, args.overrides, Settings(**given))
    console = open_console()
    with opened as search:
        jobs, nproc = search.settings.jobs, search.settings.nproc
        stopped_by = run_experiment(search, jobs=jobs, nproc=nproc, console=console)
        found = search.write_pages()
    console.print(best_table(found))
    if stopped_by:
        say(console, f"stopped; resume with: homerec tune --out {folder} --resume")
        return 128 + stopped_by
    if found["best"] is None:
        failed = [trial for trial in found["trials"] if trial["state"] == "failed"]
        first = f"{failed[0]['run']}: {failed[0]['error']}"
        raise UserError(f"{folder}: all {len(failed)} trials failed; {first}")
    say(console, f"best:    trial {found['best']}, {folder / 'best.yaml'}")
    say(console, f"train:   homerec train --config {folder / 'best.yaml'}")
    say(console, f"report:  {folder / 'report.html'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    for name, lowest in _LOWEST.items():
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UserError(f"command line: --{name} {value}: is at least {lowest}")
    if args.scheduler != "local_cwd":
        raise UserError(
            f"command line: --scheduler {args.scheduler}: trials run on this machine alone "
            "(local_cwd); start 'homerec tune' inside an allocation of the cluster"
        )
