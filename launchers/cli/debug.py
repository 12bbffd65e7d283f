"""`homerec debug batch FILE`: what a step that went wrong was trained on."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("batch",), help="batch: a file of RUN/debug")
    parser.add_argument("file", type=Path, metavar="FILE", help="RUN/debug/step-...-rank....pt")
    parser.add_argument("--row", type=int, metavar="N", help="all of one row")


def run(args: argparse.Namespace) -> int:
    from pipeline.faults.batch_file import show_batch

    print(show_batch(args.file, args.row))  # noqa: T201
    return 0
