"""`homerec plan`: find a sharding plan for any cluster, keep it, look into it. Its options."""

from __future__ import annotations

import argparse
from pathlib import Path

from launchers.cli.plan import inputs as plan_inputs
from launchers.cli.plan import measure_options as plan_truth

VERBS = ("find", "show", "diff", "sweep", "page", "facts", *plan_truth.VERBS)


def with_verb(words: list[str]) -> list[str]:
    """`plan SOURCE ..` is `plan find SOURCE ..`."""
    if words[:1] != ["plan"] or not words[1:] or words[1] in (*VERBS, "-h", "--help"):
        return words
    return ["plan", "find", *words[1:]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommands. Imports no planner: help must come at once."""
    formatter = argparse.HelpFormatter
    parser.formatter_class = formatter
    parser.epilog = "'homerec plan SOURCE ..' is short for 'homerec plan find SOURCE ..'."
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")
    find = verbs.add_parser("find", help="search for a plan", formatter_class=formatter)
    _what_is_planned(find)
    find.add_argument(
        "--warm", type=Path, metavar="FILE", help="an earlier plan's file to start from"
    )
    find.add_argument("--out", type=Path, metavar="FILE", help="where to write the plan")
    _page_file(find)
    find.add_argument("--json", action="store_true", help="print the plan's file, no tables")
    show = verbs.add_parser("show", help="a plan again, or all options of one of its tables")
    show.add_argument("plan", type=Path, metavar="FILE", help="a plan's file")
    show.add_argument("table", nargs="?", metavar="TABLE", help="whose options to show")
    diff = verbs.add_parser("diff", help="what moves from one plan to another, and for how long")
    diff.add_argument("before", type=Path, metavar="FILE", help="the plan as it is")
    diff.add_argument("after", type=Path, metavar="FILE", help="the plan to be; its cluster counts")
    sweep = verbs.add_parser("sweep", help="plans for every combination of some inputs' values")
    _what_is_planned(sweep)
    sweep.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="INPUT=A,B",
        help="world_size, batch_size (rows a rank), types (a set: row_wise+table_wise), dim, "
        "dtype, qcomm, pipeline, reserve, replica_groups, sync_every, serve or a cluster's field; "
        "once for each",
    )
    sweep.add_argument("--out", type=Path, metavar="FILE", help="where to write the points (JSON)")
    _page_file(sweep)
    sweep.add_argument("--json", action="store_true", help="print the points, no table")
    page = verbs.add_parser(
        "page", help="a page (HTML) of a plan, of two plans compared, of a sweep"
    )
    page.add_argument(
        "plans",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="a plan's file; a second: the plan to be",
    )
    page.add_argument("--sweep", type=Path, metavar="FILE", help="points that 'plan sweep' wrote")
    page.add_argument(
        "--options",
        type=_natural,
        default=200,
        metavar="N",
        help="of how many tables, the most costly, to show all options (default: 200)",
    )
    page.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page to write")
    facts = verbs.add_parser("facts", help="count in data how tables are used, for --data later")
    _source(facts)
    plan_inputs.add_data(facts, required=True)
    facts.add_argument(
        "--batch-size",
        type=_positive,
        default=4096,
        metavar="N",
        help="rows of the global batch whose repeated ids are shown (default: 4096)",
    )
    facts.add_argument("--out", type=Path, metavar="FILE", help="where to write them (JSON)")
    facts.add_argument("--json", action="store_true", help="print them, no table")
    plan_truth.add_verbs(verbs, _positive)
    for verb in verbs.choices.values():
        verb.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error",
        )


def _page_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write a page (HTML)")


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a recipe (with any --section.field VALUE, as in 'train'), a run's or checkpoint's "
        "folder, its config.json, or a table list (.yaml)",
    )


def _what_is_planned(parser: argparse.ArgumentParser) -> None:
    _source(parser)
    parser.add_argument(
        "--cluster",
        required=True,
        metavar="FILE|PRESET",
        help="a .yaml file, or a preset: h100, h100-8x16 (devices a host x hosts), cpu-2x1, ..",
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="rows a rank (default: train.batch_size / ranks; a table list has no default)",
    )
    parser.add_argument(
        "--constraints", type=Path, metavar="FILE", help="rules by table pattern (.yaml)"
    )
    plan_inputs.add_data(parser)
    plan_inputs.add_conditions(parser)
    parser.add_argument(
        "--rounds",
        type=_natural,
        default=20_000,
        metavar="N",
        help="of the search; with the seed they decide the plan (default: 20000)",
    )
    parser.add_argument(
        "--seconds",
        type=_natural,
        default=30,
        metavar="S",
        help="after which the search is cut off (default: 30)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def _natural(value: str) -> int:
    number = int(value)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative; give 0 or more")
    return number


def _positive(value: str) -> int:
    if _natural(value) == 0:
        raise argparse.ArgumentTypeError("0 is too small; give 1 or more")
    return int(value)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    if args.verb in plan_truth.VERBS:
        return plan_truth.run(args)
    from launchers.cli.plan import actions as planner

    return int(getattr(planner, args.verb)(args))
