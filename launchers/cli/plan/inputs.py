"""What a plan depends on, from the command line: options, and the request they make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embeddings.planner.inputs.cluster import Cluster
    from embeddings.planner.inputs.request import PlanRequest
    from embeddings.planner.inputs.rules import Rule
    from embeddings.planner.inputs.table_stats import TableStats
    from pipeline.planning.sources import Source

# What a person calls the fields of `TrainingSetup`.
_OPTIONS: dict[tuple[int | str, ...], str] = {
    ("qcomm_forward",): "--qcomm",
    ("qcomm_backward",): "--qcomm",
    ("reserve",): "--reserve",
    ("reserve_share",): "--reserve",
    ("reserve_gib",): "--reserve",
    ("pipeline",): "--pipeline",
    ("dense_gib",): "--dense-gib",
    ("replica_groups",): "--replica-groups",
    ("sync_every",): "--sync-every",
}

# What `plan` takes a cache to serve, unless told (share of lookups).
SERVE = 0.95


def add_data(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The options of where facts come from."""
    parser.add_argument(
        "--data",
        type=Path,
        required=required,
        metavar="PATH",
        help="how tables are used, counted there: a prepared folder, Parquet file or folder, or a "
        "file that 'plan facts' wrote",
    )
    parser.add_argument(
        "--fold",
        action="store_true",
        help="ids in --data are taken modulo a table's rows (a table list's alone)",
    )
    parser.add_argument(
        "--serve",
        type=float,
        default=SERVE,
        metavar="SHARE",
        help="of lookups that a cache in device memory has to serve, with --data (default: 0.95)",
    )


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """The options of how the model trains. Imports no planner."""
    parser.add_argument(
        "--qcomm",
        metavar="TYPE[,TYPE]",
        help="what rows, and then their gradients, are sent as: fp32, fp16, bf16, fp8, int8",
    )
    parser.add_argument(
        "--pipeline",
        metavar="NAME",
        help="TorchRec's train pipeline that holds batches: none, sparse_dist, prefetch",
    )
    parser.add_argument(
        "--reserve",
        metavar="KIND=N",
        help="memory kept from tables: heuristic=SHARE (default 0.15), fixed_percentage=SHARE, "
        "fixed_absolute=GIB",
    )
    parser.add_argument(
        "--dense-gib",
        type=float,
        metavar="GIB",
        help="of the dense half on a rank, in place of six times its weights (heuristic)",
    )
    parser.add_argument(
        "--replica-groups",
        metavar="N",
        help="2D parallelism: groups of ranks that each have all tables (default: 1)",
    )
    parser.add_argument(
        "--sync-every", metavar="STEPS", help="from one averaging of replicas to the next"
    )
    parser.add_argument(
        "--replicas-across-hosts",
        action="store_true",
        help="a group is neighbouring ranks (default: copies lie within a host if possible)",
    )


def condition_fields(args: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `TrainingSetup` that the options name; values as they were typed."""
    from pipeline.io.errors import UserError

    found: dict[str, Any] = {}
    if args.get("qcomm") is not None:
        forward, comma, backward = str(args["qcomm"]).partition(",")
        found |= {"qcomm_forward": forward, "qcomm_backward": backward if comma else forward}
    if args.get("reserve") is not None:
        kind, equals, number = str(args["reserve"]).partition("=")
        if not equals:
            raise UserError(f"--reserve {kind}: no amount; give KIND=N, as in heuristic=0.15")
        amount = "reserve_gib" if kind == "fixed_absolute" else "reserve_share"
        found |= {"reserve": kind, amount: number}
    for name in ("pipeline", "dense_gib", "replica_groups", "sync_every"):
        if args.get(name) is not None:
            found[name] = args[name]
    if args.get("replicas_across_hosts"):
        found["replicas_across_hosts"] = True
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that a plan is made from."""

    source: Source
    cluster: Cluster
    batch_size: int | None
    rules: tuple[Rule, ...]
    setup: Mapping[str, Any]
    """Fields of `TrainingSetup`."""
    facts: TableStats | None
    serve: float

    def made(self) -> tuple[Source, PlanRequest]:
        """The model as facts tell of it, and what is asked of the planner. ValueError."""
        from embeddings.planner.inputs.training_setup import TrainingSetup
        from embeddings.planner.inputs.yaml_files import validate
        from pipeline.io.errors import UserError

        if not 0 < self.serve <= 1:
            raise UserError(f"--serve: {self.serve} is no share of lookups; give 0.95, say")
        source = self.source
        given = {**source.setup, **self.setup}
        setup = validate(TrainingSetup, given, "command line", _OPTIONS)
        rows = source.rows_a_rank(self.cluster, self.batch_size)
        group = setup.group(self.cluster)
        if self.facts is not None:
            try:
                source = source.with_stats(self.facts, rows * group.ranks, self.serve)
            except ValueError as error:
                raise UserError(f"--data: {error}") from error
        return source, source.request(self.cluster, rows, self.rules, setup)


def open_inputs(args: argparse.Namespace, world: Any) -> Inputs:
    """What the command line names, read. UserError or ValueError in one line."""
    from embeddings.planner.inputs.cluster import load_cluster
    from embeddings.planner.inputs.rules import load_rules
    from pipeline.planning.sources import open_source
    from pipeline.planning.table_stats_source import open_table_stats

    cluster = load_cluster(args.cluster)
    rules = load_rules(args.constraints) if args.constraints else ()
    source = open_source(args.source, args.overrides, world)
    facts = open_table_stats(args.data, source, fold=args.fold) if args.data else None
    return Inputs(
        source=source,
        cluster=cluster,
        batch_size=args.batch_size,
        rules=rules,
        setup=condition_fields(vars(args)),
        facts=facts,
        serve=args.serve,
    )
