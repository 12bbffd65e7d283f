"""`homerec checkpoint`: which checkpoints a run has, whether they are whole, what stays."""

from __future__ import annotations

import argparse

VERBS = ("ls", "verify", "show", "prune")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommands. Imports nothing heavy: help must come at once."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")
    for name, summary, what in (
        (
            "ls",
            "a line for each checkpoint: files there and as long as they were",
            "a run's folder",
        ),
        (
            "verify",
            "read every byte; exit code 1 if one is damaged",
            "a run's, or one checkpoint's",
        ),
        ("show", "where it stands and what is in it", "a checkpoint, or a run (its best one)"),
        ("prune", "drop what no rule keeps; damaged ones are no reason to drop any", "a run's"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.add_argument("where", metavar="DIR", help=f"{what}, or its address (s3://..)")
        verb.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error",
        )
        if name != "prune":
            verb.add_argument("--json", action="store_true", help="print one JSON object")
    pruning = verbs.choices["prune"]
    pruning.add_argument(
        "--keep", type=int, metavar="N", help="newest to keep (default: the run's checkpoint.keep)"
    )
    pruning.add_argument(
        "--keep-every",
        type=int,
        metavar="STEPS",
        help="the first one at or after each multiple stays (default: the run's)",
    )
    pruning.add_argument("--damaged", action="store_true", help="drop damaged ones, too")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    from launchers.cli import checkpoint_actions as checkpoints

    return int(getattr(checkpoints, args.verb)(args))
