"""`homerec plan` for several clusters: a line for each, also for one that does not work."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from rich.table import Table

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import GIB, Cluster, load_cluster
from embeddings.planner.plans.critical_path import critical_path, slowest_ids
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import PlanFile, gap
from embeddings.planner.plans.storage import fullest
from embeddings.planner.problem.options import MEMORIES
from embeddings.planner.search.search import Budget
from launchers.cli.plan.inputs import Inputs, open_inputs
from launchers.cli.plan.options import OutputOptions, PlanOptions
from launchers.cli.plan.user_errors import user_errors
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.text_table import add_text, text_table
from pipeline.ranks.world import open_world

KIND, VERSION = "homerec planned clusters", 1


def compare_clusters(
    source_name: str,
    options: PlanOptions,
    warm: Path | None,
    output: OutputOptions,
    overrides: Sequence[str],
) -> int:
    """Plan for each cluster by itself. UserError if there is a plan for none of them."""
    for option, value in (("--warm", warm), ("--out", output.out), ("--page", output.page)):
        if value is not None:
            raise UserError(f"{option} {value}: is of one plan; give one --cluster, or drop it")
    clusters: dict[str, Cluster | ValueError] = {name: _loaded(name) for name in options.cluster}
    known = [cluster for cluster in clusters.values() if isinstance(cluster, Cluster)]
    found: dict[str, PlanFile | ValueError] = {}
    with user_errors(), open_world() as world:
        inputs = open_inputs(source_name, options, known[0], overrides, world) if known else None
        for name, cluster in clusters.items():
            found[name] = _planned(inputs, cluster, options)
    rows = [_row(name, outcome) for name, outcome in found.items()]
    if output.json:
        sys.stdout.write(dumps({"kind": KIND, "version": VERSION, "clusters": rows}) + "\n")
    else:
        console = open_console()
        console.print(_view(rows))
        for row in rows:
            if "reason" in row:
                print_line(console, f"{row['cluster']}: {row['reason']}")
    if all("reason" in row for row in rows):
        raise UserError(f"no plan for any of {len(rows)} clusters; the reasons are above")
    return 0


def _loaded(name: str) -> Cluster | ValueError:
    try:
        return load_cluster(name)
    except ValueError as error:
        return error


def _planned(
    inputs: Inputs | None, cluster: Cluster | ValueError, options: PlanOptions
) -> PlanFile | ValueError:
    """The plan; or why there is none, which is no reason to leave out other clusters."""
    if isinstance(cluster, ValueError):
        return cluster
    assert inputs is not None
    budget = Budget(rounds=options.rounds, seconds=options.seconds, seed=options.seed)
    try:
        source, request = dataclasses.replace(inputs, cluster=cluster).made()
        solution = find_plan(request, budget)
    except ValueError as error:
        return error
    return describe_plan(request, solution, source.tables, options.seed)


def _row(name: str, outcome: PlanFile | ValueError) -> dict[str, Any]:
    """Milliseconds and bytes as plain data, or the reason."""
    if isinstance(outcome, ValueError):
        return {"cluster": name, "reason": str(outcome)}
    used, room = outcome.memory()
    full = fullest(used, room)
    return {
        "cluster": name,
        "ranks": outcome.cluster.ranks,
        "batch_size": outcome.batch_size,
        "time_ms": outcome.time_ms,
        "lower_bound_ms": outcome.lower_bound_ms,
        "expected_ms": outcome.expected_ms(),
        "critical_path_ms": critical_path(outcome).total,
        "ids_ms": slowest_ids(outcome)[0],
        "memory": {name: int(used[full[i], i]) for i, name in enumerate(MEMORIES)},
        "room": {name: int(room[full[i], i]) for i, name in enumerate(MEMORIES)},
        "cut_off": outcome.cut_off,
    }


def _view(rows: Sequence[dict[str, Any]]) -> Table:
    numbers = ("ranks", "rows per\nrank", "ms", "lower\nbound", "gap", "critical\npath",
               "ids'\nexch.", "GiB\nused", "of")  # fmt: skip
    view = text_table("Clusters", ["cluster"], numbers)
    add_text(view, "")
    for row in rows:
        if "reason" in row:
            view.add_row(row["cluster"], *["-"] * len(numbers), "no plan")
            continue
        memory = "hbm" if row["room"]["hbm"] else "ddr"
        view.add_row(
            row["cluster"],
            str(row["ranks"]),
            f"{row['batch_size']:,}",
            f"{row['time_ms']:.4g}",
            f"{row['lower_bound_ms']:.4g}",
            f"{gap(row['time_ms'], row['lower_bound_ms']):.1%}",
            f"{row['critical_path_ms']:.4g}",
            f"{row['ids_ms']:.4g}",
            f"{row['memory'][memory] / GIB:.3g}",
            f"{row['room'][memory] / GIB:.3g}",
        )
    return view
