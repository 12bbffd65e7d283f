"""What `homerec plan` does once its words are understood."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.planner.advice.alternatives import alternatives
from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import load_plan
from embeddings.planner.plans.reshard import reshard
from embeddings.planner.search.search import Budget
from launchers.cli.plan.inputs import open_inputs
from launchers.cli.plan.page import run_page, write_page
from launchers.cli.plan.sweep import run_sweep, sweep_view
from launchers.cli.plan.table_stats import facts_view
from launchers.cli.plan.tables import options_view, plan_view, reshard_view
from launchers.local.console import open_console, say
from pipeline.io.errors import UserError
from pipeline.io.files import write_json, write_text
from pipeline.planning.page.sweep_file import read_sweep
from pipeline.planning.sources import open_source
from pipeline.planning.table_stats_source import open_table_stats
from pipeline.ranks.world import open_world


def find(args: argparse.Namespace) -> int:
    """Search for a plan; print it, and write it if asked.

    UserError if none fits; with --json what is missing, and what would help, is printed first.
    """
    with user_errors(), open_world() as world:
        check_folder(args.out)
        check_folder(args.page, "--page")
        warm = load_plan(args.warm).sharding_plan() if args.warm else None
        inputs = open_inputs(args, world)
        source, request = inputs.made()
        budget = Budget(rounds=args.rounds, seconds=args.seconds, seed=args.seed)
        try:
            solution = find_plan(request, budget, previous=warm)
        except Infeasible as error:
            if args.json:
                sys.stdout.write(json.dumps(error.data(), indent=1) + "\n")
            raise
        file = describe_plan(request, solution, source.tables, args.seed)
    if args.out:
        write_text(args.out, file.to_json())
    if args.page:
        name = str(args.out or "plan.json")
        write_page(args.page, f"Sharding plan: {args.source}", [(name, file)], quiet=args.json)
    if args.json:
        sys.stdout.write(file.to_json())
        return 0
    console = open_console()
    if inputs.facts:
        rows = request.batch_size * request.group.ranks
        console.print(facts_view(inputs.facts, rows, args.serve, most=12))
    for part in plan_view(file):
        console.print(part)
    if args.out:
        say(console, f"written to {args.out}; train with it: --sharding.plan {args.out}")
    return 0


def show(args: argparse.Namespace) -> int:
    """A plan's tables of figures; or why one of its tables lies as it does."""
    console = open_console()
    with user_errors():
        file = load_plan(args.plan)
        if args.table is None:
            parts = list(plan_view(file))
        else:
            with _in_file(args.plan):
                parts = list(options_view(file, args.table, alternatives(file, args.table)))
    for part in parts:
        console.print(part)
    return 0


def diff(args: argparse.Namespace) -> int:
    """What moves between two plans."""
    with user_errors():
        before, after = load_plan(args.before), load_plan(args.after)
        with _in_file(args.after):
            found = reshard(before, after)
    console = open_console()
    for part in reshard_view(found, after.cluster):
        console.print(part)
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Plans over ranges of inputs. A combination that does not fit is an answer too."""
    with user_errors(), open_world() as world:
        check_folder(args.out)
        check_folder(args.page, "--page")
        points = run_sweep(args, world)
    found = {
        "kind": "homerec sharding sweep",
        "version": 1,
        "source": args.source,
        "cluster": args.cluster,
        "points": [point.row() for point in points],
    }
    if args.out:
        write_json(args.out, found)
    if args.page:
        shown = read_sweep(found, "sweep")
        write_page(args.page, f"Sharding sweep: {args.source}", [], shown, quiet=args.json)
    if args.json:
        sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
    else:
        open_console().print(sweep_view(points))
    return 0


def page(args: argparse.Namespace) -> int:
    """A page of one plan, of two, of a sweep."""
    with user_errors():
        check_folder(args.out)
        run_page(args)
    return 0


def facts(args: argparse.Namespace) -> int:
    """How data use a model's tables, counted once and kept."""
    with user_errors(), open_world() as world:
        check_folder(args.out)
        source = open_source(args.source, args.overrides, world)
        found = open_table_stats(args.data, source, fold=args.fold)
    if args.out:
        write_text(args.out, found.to_json())
    if args.json:
        sys.stdout.write(found.to_json())
        return 0
    console = open_console()
    console.print(facts_view(found, args.batch_size, args.serve))
    if args.out:
        say(console, f"written to {args.out}; plan with it: --data {args.out}")
    return 0


@contextmanager
def _in_file(path: Path) -> Iterator[None]:
    """The file's name before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


@contextmanager
def user_errors() -> Iterator[None]:
    """The planner's ValueErrors, each one line about its input, as the user's mistakes."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error


def check_folder(out: Path | None, option: str = "--out") -> None:
    """Before the search, not after it."""
    if out is not None and not out.parent.is_dir():
        raise UserError(f"{out}: no folder {out.parent}; make it, or name another with {option}")
    if out is not None and out.is_dir():
        raise UserError(f"{out}: is a folder; name a file with {option}")
