"""`homerec plan measure` and `calibrate`: the options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERBS = ("measure", "calibrate")


def add_verbs(verbs: Any, positive: Callable[[str], int]) -> None:
    """Imports no planner: help must come at once."""
    measure = verbs.add_parser("measure", help="run plans' lookups and exchanges on this machine")
    measure.add_argument(
        "plans", type=Path, nargs="+", metavar="PLAN", help="plans' files, all for as many ranks"
    )
    measure.add_argument(
        "--cluster",
        metavar="FILE|PRESET",
        help="predict with its constants (default: those of the plan's own cluster)",
    )
    measure.add_argument("--out", type=Path, metavar="FILE", help="where to write it all (JSON)")
    calibrate = verbs.add_parser("calibrate", help="fit a cluster's constants to this machine")
    calibrate.add_argument(
        "--cluster",
        required=True,
        metavar="FILE|PRESET",
        help="its hosts, devices and memory hold, and what cannot be measured",
    )
    calibrate.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the calibrated cluster (.yaml)"
    )
    calibrate.add_argument(
        "--batch-size", type=positive, default=1024, metavar="N", help="rows a rank (default: 1024)"
    )
    for verb in (measure, calibrate):
        verb.add_argument(
            "--rounds",
            type=positive,
            default=5,
            metavar="N",
            help="in each of which every plan is built and run (default: 5)",
        )
        verb.add_argument(
            "--repeats",
            type=positive,
            default=6,
            metavar="N",
            help="steps of a plan in a round that count, after one that does not (default: 6)",
        )


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    from launchers.cli.plan import measured as plan_measured

    return int(getattr(plan_measured, args.verb)(args))
