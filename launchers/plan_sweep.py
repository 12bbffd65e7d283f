"""`homerec plan sweep`: plans over ranges of inputs, to a table and JSON."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from embeddings.planner.cluster import Cluster, load_cluster
from embeddings.planner.files import validate
from embeddings.planner.request import Request
from embeddings.planner.rules import Rule, load_rules
from embeddings.planner.search import Budget
from embeddings.planner.sweep import Point, combinations, sweep
from pipeline.distributed import World
from pipeline.errors import UserError, nearest
from pipeline.planning import Source, open_source

_CLUSTER_FIELDS = tuple(
    name for name in Cluster.model_fields if name not in ("name", "device", "costs", "source")
)
_KNOWN = ("world_size", "batch_size", "types", *_CLUSTER_FIELDS)


def run_sweep(args: argparse.Namespace, world: World) -> list[Point]:
    """All points. UserError for an unknown input or a value that it cannot take."""
    axes = parse_axes(args.vary)
    cluster = load_cluster(args.cluster)
    rules = load_rules(args.constraints) if args.constraints else ()
    source = open_source(args.source, args.overrides, world)

    def request_of(values: Mapping[str, Any]) -> Request:
        return vary(source, cluster, args.batch_size, rules, values)

    # All of them before the first search: a bad value is said at once.
    for values in combinations(axes):
        request_of(values)
    budget = Budget(rounds=args.rounds, seconds=args.seconds, seed=args.seed)
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
            raise UserError(f"--vary: {name} is given twice; put all its values into one")
        axes[name] = listed
    return axes


def vary(
    source: Source,
    cluster: Cluster,
    batch_size: int | None,
    rules: Sequence[Rule],
    values: Mapping[str, str],
) -> Request:
    """The request of one combination."""
    tree = cluster.model_dump()
    for name, value in values.items():
        if name in _CLUSTER_FIELDS:
            tree[name] = value
        elif name == "world_size":
            tree["hosts"] = _hosts(value, values.get("devices_per_host", cluster.devices_per_host))
        elif name == "batch_size":
            batch_size = _whole(name, value)
        else:
            types = validate(Rule, {"tables": "*", "types": value.split("+")}, "--vary")
            rules = (*rules, types)
    return source.request(validate(Cluster, tree, "--vary"), batch_size, rules)


def _hosts(ranks: str, local: int | str) -> int:
    count, each = _whole("world_size", ranks), _whole("devices_per_host", str(local))
    if count % each:
        raise UserError(
            f"--vary world_size: {count} ranks are no whole hosts of {each} devices; give a "
            "multiple, or vary devices_per_host too"
        )
    return count // each


def _whole(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise UserError(f"--vary {name}: {value!r} is no whole number above 0")
    return int(value)


def sweep_view(points: Sequence[Point]) -> Table:
    """A line a combination."""
    view = Table(title="What if", title_justify="left")
    for heading in points[0].values:
        view.add_column(heading, justify="right")
    for heading in ("ms", "lookup", "exchange", "backward", "exchange back", "busiest / mean"):
        view.add_column(heading, justify="right")
    view.add_column("GiB of a rank, most / room", justify="right")
    for point in points:
        row = point.row()
        if point.planned is None:
            view.add_row(*map(str, point.values.values()), *["-"] * 6, "does not fit")
            continue
        ms = row["ms"]
        memory = "hbm" if row["room"]["hbm"] else "ddr"
        parts = ("fwd_compute", "fwd_comms", "bwd_compute", "bwd_comms")
        view.add_row(
            *map(str, point.values.values()),
            f"{row['time_ms']:.4g}",
            *(f"{ms[part]:.3g}" for part in parts),
            f"{row['imbalance']:.2f}",
            f"{row['memory'][memory][1] / 2**30:.3g} / {row['room'][memory] / 2**30:.3g}",
        )
    return view
