"""Options of `homerec prepare`. Imports nothing heavy: help must come at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

# Generic for the type checker alone; subscripting it at run time fails.
Kinds: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def kuairand(kinds: Kinds, formatter: type[argparse.HelpFormatter]) -> None:
    made = kinds.add_parser(
        "kuairand", help="KuaiRand's own CSV files (Pure, 1K, 27K)", formatter_class=formatter
    )
    made.add_argument(
        "--raw", type=Path, required=True, metavar="DIR", help="folder of the CSV files"
    )
    made.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="prepared folder to write"
    )
    made.add_argument(
        "--val-from", type=int, default=20220502, metavar="YYYYMMDD", help="first day of validation"
    )
    made.add_argument(
        "--test-from", type=int, default=20220505, metavar="YYYYMMDD", help="first day of test"
    )
    made.add_argument(
        "--max-history",
        type=int,
        default=30,
        metavar="N",
        help="latest events kept in a history bag",
    )
    made.add_argument(
        "--min-count",
        type=int,
        default=2,
        metavar="N",
        help="training rows an id needs for a row of its own; rarer ids are hashed",
    )
    made.add_argument(
        "--smoothing",
        type=float,
        default=20.0,
        metavar="ROWS",
        help="statistics of earlier days: rows at the overall rate added to a key's own",
    )
    made.add_argument(
        "--held",
        default="click,long_view,finish",
        metavar="LABELS",
        help="labels whose statistics by user and histories are of whole earlier days and stand "
        "still within val and test; '' for none",
    )
    made.add_argument(
        "--vocabulary-from",
        type=Path,
        metavar="DIR",
        help="a prepared folder whose vocabularies to use, to score new days with its models",
    )
    made.add_argument("--overwrite", action="store_true", help="replace --out if it is there")


def synthetic(kinds: Kinds, formatter: type[argparse.HelpFormatter]) -> None:
    made = kinds.add_parser(
        "synthetic",
        help="impressions from a planted model, with their true probabilities",
        formatter_class=formatter,
    )
    made.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="prepared folder to write"
    )
    made.add_argument(
        "--rows", type=int, default=300_000, metavar="N", help="impressions, all splits together"
    )
    made.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of the planted model and its rows"
    )
    made.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
