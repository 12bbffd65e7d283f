"""Implements the commands of `homerec plan`. Imports used by few of them are late."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from pathlib import Path

from launchers.cli.plan.light_import import light_import

with light_import():
    from embeddings.planner.find import find_plan
    from embeddings.planner.infeasibility.infeasible import Infeasible
    from embeddings.planner.plans.describe import describe_plan
    from embeddings.planner.plans.plan_file import load_plan
    from embeddings.planner.search.search import Budget
    from launchers.cli.plan.inputs import only_cluster, open_inputs
    from launchers.cli.plan.options import OutputOptions, PlanOptions
    from launchers.cli.plan.tables import options_view, plan_view, reshard_view
    from launchers.cli.plan.user_errors import check_folder, user_errors
    from launchers.local.console import open_console
    from pipeline.io.console import print_line
    from pipeline.io.errors import UserError
    from pipeline.io.files import write_json, write_text
    from pipeline.planning.sources import open_source
    from pipeline.ranks.world import open_world


def find(
    source_name: str,
    options: PlanOptions,
    warm: Path | None,
    output: OutputOptions,
    overrides: Sequence[str],
) -> int:
    """Search for a plan and print it, or write it to files.

    Raises UserError if none fits; with --json, first prints the missing bytes and the relaxations.
    """
    if len(options.cluster) > 1:
        from launchers.cli.plan.clusters import compare_clusters

        return compare_clusters(source_name, options, warm, output, overrides)
    with user_errors(), open_world() as world:
        check_folder(output.out)
        check_folder(output.page, "--page")
        previous = load_plan(warm).sharding_plan() if warm else None
        inputs = open_inputs(source_name, options, only_cluster(options), overrides, world)
        source, request = inputs.made()
        budget = Budget(rounds=options.rounds, seconds=options.seconds, seed=options.seed)
        try:
            solution = find_plan(request, budget, previous=previous)
        except Infeasible as error:
            if output.json:
                sys.stdout.write(dumps(error.data(), indent=1) + "\n")
            raise
        file = describe_plan(request, solution, source.tables, options.seed)
    if output.out:
        write_text(output.out, file.to_json())
    if output.page:
        from launchers.cli.plan.page import write_page

        name = str(output.out or "plan.json")
        write_page(output.page, f"Sharding plan: {source_name}", [(name, file)], quiet=output.json)
    if output.json:
        sys.stdout.write(file.to_json())
        return 0
    console = open_console()
    if inputs.table_stats:
        from launchers.cli.plan.table_stats import table_stats_view

        rows = request.batch_size * request.group.ranks
        console.print(table_stats_view(inputs.table_stats, rows, options.serve, most=12))
    for part in plan_view(file):
        console.print(part)
    if output.out:
        option = f"--sharding.plan {shlex.quote(str(output.out))}"
        print_line(console, f"written to {output.out}; train with it: {option}")
    return 0


def show(plan: Path, table: str | None) -> int:
    """Print the tables of a plan, or all options of one table."""
    from embeddings.planner.advice.alternatives import alternatives

    console = open_console()
    with user_errors():
        file = load_plan(plan)
        if table is None:
            parts = list(plan_view(file))
        else:
            with _in_file(plan):
                parts = list(options_view(file, table, alternatives(file, table)))
    for part in parts:
        console.print(part)
    return 0


def diff(before_file: Path, after_file: Path) -> int:
    """Print the shards that move between two plans."""
    from embeddings.planner.plans.reshard import reshard

    with user_errors():
        before, after = load_plan(before_file), load_plan(after_file)
        with _in_file(after_file):
            found = reshard(before, after)
    console = open_console()
    for part in reshard_view(found, after.cluster):
        console.print(part)
    return 0


def sweep(
    source_name: str,
    options: PlanOptions,
    axes: Sequence[str],
    output: OutputOptions,
    overrides: Sequence[str],
) -> int:
    """Plan every combination of inputs. Infeasible combinations are listed, too."""
    from launchers.cli.plan.sweep import run_sweep, sweep_view

    with user_errors(), open_world() as world:
        check_folder(output.out)
        check_folder(output.page, "--page")
        points = run_sweep(source_name, options, axes, overrides, world)
    found = {
        "kind": "homerec sharding sweep",
        "version": 1,
        "source": source_name,
        "cluster": options.cluster[0],
        "points": [point.row() for point in points],
    }
    if output.out:
        write_json(output.out, found)
    if output.page:
        from launchers.cli.plan.page import write_page
        from pipeline.planning.page.sweep_file import read_sweep

        shown = read_sweep(found, "sweep")
        write_page(output.page, f"Sharding sweep: {source_name}", [], shown, quiet=output.json)
    if output.json:
        sys.stdout.write(dumps(found, allow_nan=False) + "\n")
    else:
        open_console().print(sweep_view(points))
    return 0


def page(plans: Sequence[Path], sweep_file: Path | None, options: int, out: Path) -> int:
    """Write the page of one plan, two plans or a sweep."""
    from launchers.cli.plan.page import run_page

    with user_errors():
        check_folder(out)
        run_page(plans, sweep_file, options, out)
    return 0


def table_stats(
    source_name: str,
    data: Path,
    overrides: Sequence[str],
    *,
    fold: bool,
    serve: float,
    batch_size: int,
    out: Path | None,
    json: bool,
) -> int:
    """Count how data use a model's tables, and write the statistics to a file."""
    from launchers.cli.plan.table_stats import table_stats_view
    from pipeline.planning.table_stats_source import open_table_stats

    with user_errors(), open_world() as world:
        check_folder(out)
        source = open_source(source_name, overrides, world)
        found = open_table_stats(data, source, fold=fold)
    if out:
        write_text(out, found.to_json())
    if json:
        sys.stdout.write(found.to_json())
        return 0
    console = open_console()
    console.print(table_stats_view(found, batch_size, serve))
    if out:
        print_line(console, f"written to {out}; plan with it: --data {shlex.quote(str(out))}")
    return 0


@contextmanager
def _in_file(path: Path) -> Iterator[None]:
    """Prefix errors with the name of the file."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
