"""`homerec plan sweep`: plans every combination of inputs, as a table and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from rich.table import Table

from embeddings.planner.advice.sweep import Point, combinations, sweep
from embeddings.planner.inputs.cluster import GIB, Cluster
from embeddings.planner.inputs.files import validate
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.plans.plan_file import gap
from embeddings.planner.search.search import Budget
from launchers.cli.plan.inputs import Inputs, condition_fields, only_cluster, open_inputs
from launchers.cli.plan.options import PlanOptions
from pipeline.io.errors import UserError, nearest
from pipeline.io.text_table import add_text, text_table
from pipeline.planning.sources import Source
from pipeline.ranks.world import World

_CLUSTER_FIELDS = tuple(
    name
    for name in Cluster.model_fields
    if name not in ("name", "device", "other_devices", "costs", "source")
)
# Values in the format of the options of the same name.
_CONDITIONS = ("qcomm", "pipeline", "reserve", "replica_groups", "sync_every")
_KNOWN = (
    *("world_size", "batch_size", "types", "dim", "dtype", "serve"),
    *_CONDITIONS,
    *_CLUSTER_FIELDS,
)

_PART_NAMES = ("lookup", "exch.", "backward", "backward\nexch.")


def run_sweep(
    source_name: str,
    options: PlanOptions,
    axis_words: Sequence[str],
    overrides: Sequence[str],
    world: World,
) -> list[Point]:
    """Return all points. Raises UserError for an unknown input or an invalid value."""
    axes = parse_axes(axis_words)
    inputs = open_inputs(source_name, options, only_cluster(options), overrides, world)
    made: dict[tuple[str | None, str | None], Source] = {}

    def request_of(values: Mapping[str, Any]) -> PlanRequest:
        tables = values.get("dim"), values.get("dtype")
        if tables not in made:
            made[tables] = _remade(inputs.source, *tables)
        return vary(dataclasses.replace(inputs, source=made[tables]), values).made()[1]

    # Build all requests before the first search, so that a bad value is reported at once.
    for values in combinations(axes):
        request_of(values)
    budget = Budget(rounds=options.rounds, seconds=options.seconds, seed=options.seed)
    return list(sweep(axes, request_of, budget))


def parse_axes(words: Sequence[str]) -> dict[str, list[str]]:
    """['world_size=8,16'] -> {'world_size': ['8', '16']}; sets of types: 'types=a+b,c'."""
    axes: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if name not in _KNOWN:
            raise UserError(f"--vary: unknown input {name!r}; {nearest(name, list(_KNOWN))}")
        listed = [value.strip() for value in values.split(",")]
        if not equals or not all(listed):
            raise UserError(f"--vary {word}: no values; give {name}=A,B,..")
        if name in axes:
            raise UserError(f"--vary: {name} is given twice; put all its values into one --vary")
        axes[name] = listed
    return axes


def vary(inputs: Inputs, values: Mapping[str, str]) -> Inputs:
    """Return the inputs of one combination, except for changed dims and dtypes of tables."""
    tree = inputs.cluster.model_dump()
    batch_size, rules, serve = inputs.batch_size, inputs.rules, inputs.serve
    setup: dict[str, Any] = dict(inputs.setup)
    for name, value in values.items():
        if name in _CLUSTER_FIELDS:
            tree[name] = value
        elif name == "world_size":
            local = values.get("devices_per_host", inputs.cluster.devices_per_host)
            tree["hosts"] = _hosts(value, local)
        elif name == "batch_size":
            batch_size = _whole(name, value)
        elif name == "types":
            types = validate(Rule, {"tables": "*", "types": value.split("+")}, "--vary")
            rules = (*rules, types)
        elif name == "serve":
            serve = _number(name, value)
        elif name == "qcomm":
            setup |= condition_fields({name: value.replace("+", ",")})
        elif name in _CONDITIONS:
            setup |= condition_fields({name: value})
    return dataclasses.replace(
        inputs,
        cluster=validate(Cluster, tree, "--vary"),
        batch_size=batch_size,
        rules=rules,
        setup=setup,
        serve=serve,
    )


def _remade(source: Source, dim: str | None, dtype: str | None) -> Source:
    """Return the source with all tables of this dim and type."""
    if dim is None and dtype is None:
        return source
    assert source.remake is not None
    try:
        return source.remake(_whole("dim", dim) if dim else None, dtype)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = first["loc"][-1] if first["loc"] else "dim"
        raise UserError(f"--vary {field}: {first['input']!r}: {first['msg']}") from error


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"--vary {name}: {value!r} is not a number") from error


def _hosts(ranks: str, local: int | str) -> int:
    count, each = _whole("world_size", ranks), _whole("devices_per_host", str(local))
    if count % each:
        raise UserError(
            f"--vary world_size: {count} is not a multiple of {each}, the devices per host; give "
            "a multiple, or also vary devices_per_host"
        )
    return count // each


def _whole(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise UserError(f"--vary {name}: {value!r} is not a positive integer")
    return int(value)


def sweep_view(points: Sequence[Point]) -> Table:
    """Return a table with one row per combination."""
    headings = [name.replace("_", "\n") for name in points[0].values]
    numbers = ["ms", "lower\nbound", "gap", *_PART_NAMES]
    numbers += ["busiest\n/ mean", "GiB\nused", "of"]
    view = text_table("Sweep", headings, numbers)
    add_text(view, "")
    for point in points:
        row = point.row()
        values = map(str, point.values.values())
        if point.solution is None:
            view.add_row(*values, *["-"] * len(numbers), "does not fit")
            continue
        ms = row["ms"]
        memory = "hbm" if row["room"]["hbm"] else "ddr"
        parts = ("fwd_compute", "fwd_comms", "bwd_compute", "bwd_comms")
        view.add_row(
            *values,
            f"{row['time_ms']:.4g}",
            f"{row['lower_bound_ms']:.4g}",
            f"{gap(row['time_ms'], row['lower_bound_ms']):.1%}",
            *(f"{ms[part]:.3g}" for part in parts),
            f"{row['imbalance']:.2f}",
            f"{row['memory'][memory][1] / GIB:.3g}",
            f"{row['room'][memory] / GIB:.3g}",
        )
    return view
