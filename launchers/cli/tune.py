"""`homerec tune`: many runs in search of a better configuration. Its options."""

from __future__ import annotations

import argparse
from pathlib import Path

TRIALS, JOBS, NPROC, SEED, STARTUP = 20, 1, 1, 0, 5


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
        help=f"trials in all, also over several --resume (default: {TRIALS})",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help=f"trials at a time (default: {JOBS})")
    parser.add_argument("--nproc", type=int, metavar="N", help=f"ranks each (default: {NPROC})")
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
        help=f"finished trials before one is stopped (default: {STARTUP})",
    )
    parser.add_argument("--seed", type=int, metavar="S", help=f"of what is tried (default: {SEED})")
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
    """Search. Returns the exit code."""
    from launchers.experiments.search import tune

    return tune(args, args.overrides)
