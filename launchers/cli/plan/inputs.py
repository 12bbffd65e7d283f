"""Reads the inputs of a plan from the command line and builds the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from launchers.cli.plan.options import PlanOptions

if TYPE_CHECKING:
    from embeddings.number_types import Place
    from embeddings.planner.inputs.cluster import Cluster
    from embeddings.planner.inputs.request import PlanRequest
    from embeddings.planner.inputs.rules import Rule
    from embeddings.planner.inputs.table_stats import TableStats
    from pipeline.planning.sources import Source

# Fields of `TrainingSetup` -> the options that set them.
_OPTIONS: dict[Place, str] = {
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


def condition_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `TrainingSetup` set by the options, with values as typed."""
    from pipeline.io.errors import UserError

    found: dict[str, Any] = {}
    if options.get("qcomm") is not None:
        forward, comma, backward = str(options["qcomm"]).partition(",")
        found |= {"qcomm_forward": forward, "qcomm_backward": backward if comma else forward}
    if options.get("reserve") is not None:
        kind, equals, number = str(options["reserve"]).partition("=")
        if not equals:
            raise UserError(f"--reserve {kind}: amount missing; give KIND=N, as in heuristic=0.15")
        amount = "reserve_gib" if kind == "fixed_absolute" else "reserve_share"
        found |= {"reserve": kind, amount: number}
    for name in ("pipeline", "dense_gib", "replica_groups", "sync_every"):
        if options.get(name) is not None:
            found[name] = options[name]
    if options.get("replicas_across_hosts"):
        found["replicas_across_hosts"] = True
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All inputs of a plan."""

    source: Source
    cluster: Cluster
    batch_size: int | None
    rules: tuple[Rule, ...]
    setup: Mapping[str, Any]
    """Fields of `TrainingSetup`."""
    table_stats: TableStats | None
    serve: float

    def made(self) -> tuple[Source, PlanRequest]:
        """Return the model with its table statistics, and the request to the planner.

        Raises ValueError for invalid inputs.
        """
        from embeddings.planner.inputs.files import validate
        from embeddings.planner.inputs.training_setup import TrainingSetup
        from pipeline.io.errors import UserError

        if not 0 < self.serve <= 1:
            raise UserError(f"--serve: {self.serve} is not between 0 and 1; give 0.95, for example")
        source = self.source
        given = {**source.setup, **self.setup}
        setup = validate(TrainingSetup, given, "command line", _OPTIONS)
        rows = source.rows_a_rank(self.cluster, self.batch_size)
        group = setup.group(self.cluster)
        if self.table_stats is not None:
            try:
                source = source.with_stats(self.table_stats, rows * group.ranks, self.serve)
            except ValueError as error:
                raise UserError(f"--data: {error}") from error
        return source, source.request(self.cluster, rows, self.rules, setup)


def only_cluster(options: PlanOptions) -> Cluster:
    """The one that the command line names. UserError or ValueError in one line."""
    from embeddings.planner.inputs.cluster import load_cluster
    from pipeline.io.errors import UserError

    if len(options.cluster) > 1:
        raise UserError(f"--cluster {options.cluster[1]}: a second one; only 'plan find' compares")
    return load_cluster(options.cluster[0])


def open_inputs(
    source_name: str, options: PlanOptions, cluster: Cluster, overrides: Sequence[str], world: Any
) -> Inputs:
    """Read the files that the command line names. Raises UserError or ValueError in one line."""
    from embeddings.planner.inputs.rules import load_rules
    from pipeline.planning.sources import open_source

    rules = load_rules(options.constraints) if options.constraints else ()
    source = open_source(source_name, overrides, world)
    stats = None
    if options.data:
        from pipeline.planning.table_stats_source import open_table_stats

        stats = open_table_stats(options.data, source, fold=options.fold)
    return Inputs(
        source=source,
        cluster=cluster,
        batch_size=options.batch_size,
        rules=rules,
        setup=condition_fields(asdict(options)),
        table_stats=stats,
        serve=options.serve,
    )
