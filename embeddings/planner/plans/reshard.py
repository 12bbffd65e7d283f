"""Resharding from one plan to another: the shards that move, and the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile

_WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2}
# Optimizer state: bytes per row of a shard, bytes per element.
_STATE = {"rowwise_adagrad": (4, 0), "adagrad": (0, 4), "adam": (0, 8), "sgd": (0, 0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A table that moves, with `bytes` of weights and optimizer state sent over links."""

    table: str
    before: str
    after: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reshard:
    """`sent[i, j]`: bytes from rank i to rank j, [R, R] with R the larger plan's ranks."""

    moves: tuple[Move, ...]
    sent: IntArray
    seconds: float
    busiest: int
    """The rank with the busiest links."""


def reshard(before: PlanFile, after: PlanFile) -> Reshard:
    """Compute what to send so that every rank has its rows and columns of `after`.

    Parts that a rank already has are not sent. A part that several ranks have (of a data-parallel
    table) is sent by the one at the receiver's index modulo their number. Raises ValueError if the
    tables differ.
    """
    _check_same_tables(before, after)
    world = max(before.cluster.ranks, after.cluster.ranks)
    sent = np.zeros((world, world), np.int64)
    moves = []
    for new in after.tables:
        old = before.find(new.table.name)
        if _layout(old) == _layout(new):
            continue
        mine = _sent(old, new, world)
        sent += mine
        moves.append(
            Move(
                table=new.table.name,
                before=_described(old),
                after=_described(new),
                bytes=int(mine.sum()),
            )
        )
    busy = busy_seconds(sent, after.cluster)
    return Reshard(
        moves=tuple(moves), sent=sent, seconds=float(busy.max()), busiest=int(busy.argmax())
    )


def busy_seconds(sent: IntArray, cluster: Cluster) -> FloatArray:
    """Return how long each rank's links are busy, [R], with all links at full speed at once.

    This is the maximum of sending and receiving; each takes bytes within the host / intra_bw +
    bytes to other hosts / inter_bw. Ignores latency and other traffic.
    """
    host = np.arange(len(sent)) // cluster.devices_per_host
    inside = host[:, None] == host
    seconds = np.where(inside, sent / (cluster.intra_bw * 1e9), sent / (cluster.inter_bw * 1e9))
    longest: FloatArray = np.maximum(seconds.sum(axis=1), seconds.sum(axis=0))
    return longest


def _sent(old: PlacedTable, new: PlacedTable, world: int) -> IntArray:
    """Return the bytes of one table from rank to rank, [R, R]; zero from a rank to itself."""
    here, there = old.rectangles(), new.rectangles()
    holders, takers = np.array(old.rank_list()), np.array(new.rank_list())
    sent = np.zeros((world, world), np.int64)
    if old.copied:  # each of these ranks has all of it
        held = np.isin(takers, holders)
        source = np.where(held, takers, holders[takers % len(holders)])
        np.add.at(sent, (source, takers), _bytes(new, there[:, 2], there[:, 3]))
    else:
        rows = _overlap(here[:, 0], here[:, 2], there[:, 0], there[:, 2])
        columns = _overlap(here[:, 1], here[:, 3], there[:, 1], there[:, 3])
        common = np.where((rows > 0) & (columns > 0), _bytes(new, rows, columns), 0)
        np.add.at(sent, (holders[:, None], takers[None, :]), common)
    np.fill_diagonal(sent, 0)
    return sent


def bytes_of(table: ListedTable) -> tuple[int, int]:
    """Return bytes per row of a shard and per element, for weights and optimizer state."""
    a_row, an_element = _STATE[table.optimizer]
    return a_row, _WIDTHS[table.dtype] + an_element


def _bytes(placed: PlacedTable, rows: IntArray, columns: IntArray) -> IntArray:
    """Return the bytes of this many rows and columns, including optimizer state."""
    a_row, an_element = bytes_of(placed.table)
    found: IntArray = rows * columns * an_element + rows * a_row
    return found


def _overlap(first: IntArray, length: IntArray, others: IntArray, lengths: IntArray) -> IntArray:
    """Return the overlap of each interval with each other one, [S, T]."""
    end = np.minimum((first + length)[:, None], (others + lengths)[None, :])
    found: IntArray = np.maximum(end - np.maximum(first[:, None], others[None, :]), 0)
    return found


def _layout(placed: PlacedTable) -> tuple[object, ...]:
    """Return the placement of all shards, which does not include the kernel."""
    return placed.copied, placed.width, placed.rows, placed.rank_list()


def _described(placed: PlacedTable) -> str:
    split = f" / {placed.width} columns" if placed.width < placed.table.dim else ""
    return f"{placed.sharding_type}{split} on {placed.ranks}"


def _check_same_tables(before: PlanFile, after: PlanFile) -> None:
    old = {placed.table.name: placed.table for placed in before.tables}
    new = {placed.table.name: placed.table for placed in after.tables}
    if lacking := sorted(old.keys() ^ new.keys()):
        where = "second" if lacking[0] in old else "first"
        raise ValueError(
            f"the {where} plan has no table {lacking[0]!r}; compare plans of one model"
        )
    for name, table in old.items():
        for field in ("rows", "dim", "dtype", "optimizer"):
            if getattr(table, field) != getattr(new[name], field):
                raise ValueError(
                    f"table {name!r} has {field} {getattr(table, field)} in the first plan and "
                    f"{getattr(new[name], field)} in the second; compare plans of one model"
                )
