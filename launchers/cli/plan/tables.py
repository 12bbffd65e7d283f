"""Formats a plan as tables: time, memory, balance, the largest tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from embeddings.planner.advice.alternatives import Alternative, why
from embeddings.planner.inputs.cluster import GIB, Cluster
from embeddings.planner.plans.critical_path import critical_path, slowest_ids
from embeddings.planner.plans.describe import ranges
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import Reshard
from embeddings.planner.plans.storage import fullest
from embeddings.planner.problem.options import MEMORIES, PARTS
from pipeline.io.text_table import add_text, text_table
from pipeline.planning.page.numbers import plural

_SHOWN = 12
_MOVES = 30
_PART_NAMES = ("lookup", "exchange", "backward", "backward exchange", "ids' exchange", "prefetch")
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


def plan_view(file: PlanFile) -> Iterator[Table | str]:
    """Yield the output of the command."""
    cluster = file.cluster
    name = cluster.name or cluster.device
    yield (
        f"{plural(len(file.tables), 'table')} on {plural(cluster.ranks, 'rank')} "
        f"({name}, {cluster.hosts} x "
        f"{cluster.devices_per_host}), {file.batch_size:,} rows per rank"
    )
    for other in cluster.other_devices:
        numbers = sorted({*other.hosts, *other.ranks})
        what = ("host" if other.hosts else "rank") + "s" * (len(numbers) > 1)
        given = ", ".join(f"{field} {value:g}" for field, value in other.differing().items())
        yield f"{what} {ranges(numbers)}: {other.name or 'other devices'} ({given})"
    yield _summary(file)
    if warning := _ids_warning(file):
        yield warning
    yield _largest(file)
    if file.cut_off:
        yield f"The search stopped after {file.rounds:,} rounds; raise --seconds for more."


def options_view(file: PlanFile, name: str, found: Sequence[Alternative]) -> Iterator[Table | str]:
    """Yield all options of a table and the plan's time with each."""
    placed = file.find(name)
    yield (
        f"{name}: {placed.sharding_type}, {placed.compute_kernel}, on ranks {placed.ranks}; the "
        f"plan takes {file.time_ms:.4g} ms"
    )
    shown = [i for i in range(len(PARTS)) if any(one.perf[i] for one in found)]
    parts = [_PART_NAMES[i].replace(" ", "\n") for i in shown]
    numbers = ("columns", "shards", *parts, "ms /\nshard", "MiB a\nshard", "plan\nms")
    title = "Options; plan ms: with only this table switched"
    view = text_table(title, ["sharding type", "kernel"], numbers)
    add_text(view, "")
    for one in found:
        view.add_row(
            one.sharding_type,
            one.kernel,
            str(one.width),
            str(one.shards),
            *(f"{one.perf[i]:.3g}" for i in shown),
            f"{one.shard_ms:.4g}",
            " + ".join(f"{size / 2**20:,.1f}" for size in one.memory if size) or "0",
            "does not fit" if one.plan_ms is None else f"{one.plan_ms:.4g}",
            _outcome(one, file),
        )
    yield view
    yield why(file, name, found)


def _outcome(one: Alternative, file: PlanFile) -> str:
    if one.chosen:
        return "chosen"
    if not one.allowed:
        return "forbidden by a rule"
    if one.plan_ms is None:
        return ""
    return f"{one.plan_ms / file.objective_ms() - 1:+.2%}" if file.time_ms else ""


def reshard_view(found: Reshard, cluster: Cluster) -> Iterator[Table | str]:
    """Yield the tables that move, their bytes and the time."""
    if not found.moves:
        yield "No shard moves."
        return
    view = text_table("Tables that move", ["table", "from", "to"], ["MB"])
    moves = sorted(found.moves, key=lambda move: -move.bytes)
    for move in moves[:_MOVES]:
        view.add_row(move.table, move.before, move.after, f"{move.bytes / 1e6:,.2f}")
    if rest := moves[_MOVES:]:
        view.add_row(f"{len(rest)} more", "", "", f"{sum(m.bytes for m in rest) / 1e6:,.2f}")
    yield view
    if not found.sent.any():
        yield "Nothing is sent: every rank already has its shards."
        return
    pairs = found.sent[found.sent > 0]
    sends, takes = found.sent.sum(axis=1), found.sent.sum(axis=0)
    yield (
        f"{found.sent.sum() / 1e6:,.2f} MB of weights and optimizer state between {len(pairs)} "
        f"pairs of ranks (largest: {pairs.max() / 1e6:,.2f} MB)"
    )
    yield (
        f"busiest rank: {found.busiest}, sends {sends[found.busiest] / 1e6:,.2f} MB and "
        f"receives {takes[found.busiest] / 1e6:,.2f} MB"
    )
    yield (
        f"about {found.seconds:.3g} s: the larger direction of this rank, bytes within the host / "
        f"{cluster.intra_bw:g} GB/s + bytes to other hosts / {cluster.inter_bw:g} GB/s"
    )


def _summary(file: PlanFile) -> Table:
    view = text_table("Predicted step of the tables", [""], [""])
    view.show_header = False
    # TorchRec's rating omits the exchange of ids, which overlaps the previous step.
    rated = file.rated()
    busiest = int(rated.argmax())
    view.add_row("busiest rank", f"{file.time_ms:.4g} ms")
    for part, name in zip(PARTS, _PART_NAMES, strict=True):
        took = file.ranks[busiest].ms[part]
        if took:
            note = " (overlapped)" if part == "input_dist_comms" else ""
            view.add_row(f"  {name}{note}", f"{took:.4g} ms")
    if any(file.starts().values()):
        view.add_row("including fixed cost per sharding type", f"{file.expected_ms():.4g} ms")
    path = critical_path(file)
    view.add_row("slowest lookup, backward and exchanges, of any rank", f"{path.total:.4g} ms")
    view.add_row("  compute", f"{path.compute:.4g} ms")
    view.add_row("  exchanges", f"{path.comms:.4g} ms")
    view.add_row("mean rank", f"{rated.mean():.4g} ms")
    view.add_row("imbalance (busiest / mean)", f"{rated.max() / rated.mean():.3f}")
    view.add_row("lower bound", f"{file.lower_bound_ms:.4g} ms (gap {file.gap():.2%})")
    used, room = file.memory()
    for i, (memory, rank) in enumerate(zip(MEMORIES, fullest(used, room), strict=True)):
        if used[rank, i] > 0:
            least, most, has = used[:, i].min() / GIB, used[rank, i] / GIB, room[rank, i] / GIB
            view.add_row(
                f"{memory.upper()} per rank, least used to fullest",
                f"{least:.3g} to {most:.3g} of {has:.3g} GiB",
            )
    return view


def _ids_warning(file: PlanFile) -> str | None:
    """Where the exchange of ids, which TorchRec's rating leaves out, takes longer than the step."""
    (took, rank), step = slowest_ids(file), file.expected_ms()
    if took <= step:
        return None
    part = PARTS.index("input_dist_comms")
    mine = [placed for placed in file.tables if rank in placed.rank_list()]
    mine.sort(key=lambda placed: -file.shard_perf(placed)[:, part].max())
    names = ", ".join(placed.table.name for placed in mine[:3])
    return (
        f"The exchange of ids takes {took:.4g} ms on rank {rank}, longer than the step of "
        f"{step:.4g} ms that it runs beside, and is what a step takes; the search does not count "
        f"it. Most of it on that rank: {names}."
    )


def _largest(file: PlanFile) -> Table:
    numbers = ["columns /\nshard", "rows", "dim", "MB", "ms /\nshard"]
    view = text_table("Largest tables", ["table", "sharding\ntype", "kernel", "ranks"], numbers)
    ordered = sorted(file.tables, key=lambda placed: -_size(placed))
    for placed in ordered[:_SHOWN]:
        table = placed.table
        view.add_row(
            table.name,
            placed.sharding_type,
            placed.compute_kernel,
            placed.ranks if len(placed.ranks) <= 24 else f"{placed.ranks[:21]}...",
            str(placed.width),
            f"{table.rows:,}",
            str(table.dim),
            f"{_size(placed) / 1e6:,.2f}",
            f"{file.shard_times(placed).max():.4g}",
        )
    if rest := ordered[_SHOWN:]:
        view.add_row(
            f"{len(rest)} smaller tables", *[""] * 6, f"{sum(map(_size, rest)) / 1e6:,.2f}", ""
        )
    return view


def _size(placed: PlacedTable) -> int:
    table = placed.table
    return table.rows * table.dim * _BYTES[table.dtype]
