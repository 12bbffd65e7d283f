"""When nothing fits: what is missing where, and which changes would help, each one tried."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn
from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.options import MEMORIES
from embeddings.planner.plan import PlanError
from embeddings.planner.request import Priced, Request, price, reserve
from embeddings.planner.rules import Rule
from embeddings.planner.search import Budget, Found, search

_MOST_RANKS = 4096
_ROW_WISE = ("row_wise", "table_row_wise")
_HOST_KERNELS = ("fused_uvm_caching", "fused_uvm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """A table that found no place beside the others (or a group: its first table).

    `needs`: bytes of its smallest possible shard; `room`: the most that a rank has left for it.
    """

    table: str
    memory: str
    needs: int
    room: int

    @property
    def short(self) -> int:
        return self.needs - self.room


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change that was tried, and the plan's predicted milliseconds with it."""

    kind: str
    """types, kernels, fp16, replicas, ranks or batch."""
    what: str
    """One line for a person."""
    time: float
    ranks: int
    tables: tuple[str, ...]


class Infeasible(PlanError):
    """No plan fits. The message is one line; the rest is data."""

    def __init__(
        self,
        message: str,
        shortfalls: tuple[Shortfall, ...] = (),
        total: dict[str, tuple[int, int]] | None = None,
        changes: tuple[Change, ...] = (),
        untried: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, shortfalls, total, changes, untried)
        self.message = message
        self.shortfalls = shortfalls
        self.total = total or {}
        """Memory -> (least bytes that all tables need, bytes that all ranks have)."""
        self.changes = changes
        """Those that fit, the cheapest first: rules, then precision, then more ranks."""
        self.untried = untried
        """Kinds of change that the time did not suffice for."""

    def __str__(self) -> str:
        return self.message

    def data(self) -> dict[str, Any]:
        """All of it as plain data: bytes, milliseconds."""
        return {
            "kind": "homerec infeasible plan",
            "version": 1,
            "message": self.message,
            "missing": [{**asdict(row), "short": row.short} for row in self.shortfalls],
            "total": {
                memory: {"needs": needs, "room": room}
                for memory, (needs, room) in self.total.items()
            },
            "changes": [asdict(change) for change in self.changes],
            "untried": list(self.untried),
        }


def diagnose(request: Request, priced: Priced, found: Found, seconds: float) -> Infeasible:
    """What `found` lacks, and the changes that end that."""
    assert found.missing
    shortfalls = tuple(_shortfalls(priced, found))
    names = tuple(row.table for row in shortfalls)
    changes, untried = _changes(request, names, seconds)
    worst = max(shortfalls, key=lambda row: row.short)
    message = (
        f"no sharding plan: {len(names)} of {len(priced.options.tables)} tables find no room on "
        f"{priced.problem.ranks} ranks; {worst.table!r} lacks {_size(worst.short)} of "
        f"{worst.memory.upper()} (its smallest shard is {_size(worst.needs)}, "
        f"the emptiest rank has {_size(worst.room)}); {_remedy(changes)}"
    )
    return Infeasible(message, shortfalls, _total(priced), changes, untried)


def reserved_too_much(request: Request, seconds: float) -> Infeasible:
    """When what the reservation keeps from tables is more than a device has."""
    device = request.cluster.topology().devices[0].storage
    kind = MEMORIES.index("hbm" if request.cluster.device == "cuda" else "ddr")
    has = (device.hbm, device.ddr)[kind]
    deadline = time.monotonic() + seconds
    low, high = 0, request.batch_size
    while high - low > 1 and time.monotonic() < deadline:
        middle = (low + high) // 2
        low, high = (middle, high) if _leaves_room(request, middle) else (low, middle)
    changes: tuple[Change, ...] = ()
    # Tables need room for a batch, too.
    while low and not changes and time.monotonic() < deadline:
        took = _fits(request.changed(batch_size=low))
        if took is not None:
            what = f"a batch of {low:,} rows a rank instead of {request.batch_size:,}"
            ranks = request.cluster.ranks
            changes = (Change(kind="batch", what=what, time=took, ranks=ranks, tables=()),)
        low //= 2
    message = (
        f"no sharding plan: of a device's {_size(has)} of {MEMORIES[kind].upper()} nothing is left "
        f"for tables beside dense weights and a batch of {request.batch_size:,} rows; "
        f"{_remedy(changes)}"
    )
    return Infeasible(message, (), {}, changes, ())


def _leaves_room(request: Request, batch_size: int) -> bool:
    try:
        reserve(request.changed(batch_size=batch_size))
    except PlannerError:
        return False
    return True


def _shortfalls(priced: Priced, found: Found) -> Iterator[Shortfall]:
    """For each missing item, the way and memory that come nearest to fitting."""
    problem = priced.problem
    free = problem.free.copy()
    for item, way in enumerate(found.ways):
        if way >= 0:
            column = np.repeat(problem.memory[way], problem.counts[way], axis=0)
            needs = np.tile(column.T, int(problem.blocks[way]))
            for left, needed in zip(free, needs, strict=True):
                np.subtract.at(left, found.ranks[item], needed)
    for item in found.missing:
        ways = problem.ways(item)
        # [ways, 2, R]: what a first shard lacks on each rank.
        lacks = problem.memory[ways.start : ways.stop, 0, :, None] - free[None]
        per_rank = lacks.max(axis=1)
        nearest, rank = divmod(int(per_rank.argmin()), problem.ranks)
        kind = int(lacks[nearest, :, rank].argmax())
        yield Shortfall(
            table=priced.options.tables[problem.members[item][0]].name,
            memory=MEMORIES[kind],
            needs=int(problem.memory[ways.start + nearest, 0, kind]),
            room=max(int(free[kind, rank]), 0),
        )


def _total(priced: Priced) -> dict[str, tuple[int, int]]:
    problem = priced.problem
    least = np.minimum.reduceat(problem.total_memory(), problem.first[:-1])
    room = np.maximum(problem.free, 0).sum(axis=1)
    return {
        name: (int(least[:, kind].sum()), int(room[kind])) for kind, name in enumerate(MEMORIES)
    }


def _changes(
    request: Request, missing: tuple[str, ...], seconds: float
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    deadline = time.monotonic() + seconds
    found: list[Change] = []
    untried: list[str] = []
    for kind, what, tables, changed in _candidates(request, missing):
        if time.monotonic() > deadline:
            untried.append(kind)
        elif (took := _fits(changed)) is not None:
            found.append(
                Change(kind=kind, what=what, time=took, ranks=request.cluster.ranks, tables=tables)
            )
    # Of replicas, fewer groups are tried instead: more hosts need not split into groups evenly.
    alone = request.conditions.replica_groups == 1
    more = _more_hosts(request, deadline) if alone else None
    if alone and more is None and time.monotonic() > deadline:
        untried.append("ranks")
    if more is not None:
        hosts, took = more
        ranks = hosts * request.cluster.devices_per_host
        what = f"{ranks} ranks ({hosts} hosts) instead of {request.cluster.ranks}"
        found.append(Change(kind="ranks", what=what, time=took, ranks=ranks, tables=()))
    return tuple(found), tuple(dict.fromkeys(untried))


def _candidates(
    request: Request, missing: tuple[str, ...]
) -> Iterator[tuple[str, str, tuple[str, ...], Request]]:
    """Kind, words, tables and the changed request: what costs least first."""
    if missing:
        listed = _listed(missing)
        opened = [_opened(rule, missing, "types") for rule in request.rules]
        if opened != list(request.rules):
            what = f"allow {' and '.join(_ROW_WISE)} for {listed}"
            yield "types", what, missing, request.changed(rules=opened)
        opened = [_opened(rule, missing, "kernels") for rule in request.rules]
        if opened != list(request.rules):
            what = f"allow the kernels {' and '.join(_HOST_KERNELS)} for {listed}"
            yield "kernels", what, missing, request.changed(rules=opened)
        single = _single_precision(request.module)
        halved = tuple(name for name in missing if name in single)
        if halved:
            what = f"store {_listed(halved)} in fp16"
            yield "fp16", what, halved, request.changed(half=frozenset(halved))
    every = tuple(sorted(_single_precision(request.module)))
    if every and set(every) != set(missing):
        what = f"store all {len(every)} fp32 tables in fp16"
        yield "fp16", what, every, request.changed(half=frozenset(every))
    groups = request.conditions.replica_groups
    for fewer in (n for n in range(groups - 1, 0, -1) if groups % n == 0):
        what = f"{fewer} replica groups instead of {groups}"
        update = {"replica_groups": fewer}
        conditions = request.conditions.model_copy(update=update)
        yield "replicas", what, (), request.changed(conditions=conditions)


def _opened(rule: Rule, names: tuple[str, ...], field: str) -> Rule:
    """A rule that matches one of `names`, with row-wise types or kernels in host memory allowed."""
    if not any(rule.matches(name) for name in names):
        return rule
    added = _ROW_WISE if field == "types" else _HOST_KERNELS
    allowed = getattr(rule, field)
    forbidden = getattr(rule, f"forbid_{field}")
    changes: dict[str, Any] = {
        f"forbid_{field}": tuple(name for name in forbidden if name not in added)
    }
    if allowed:
        changes[field] = tuple(dict.fromkeys((*allowed, *added)))
    if field == "types" and (rule.ranks or rule.together):
        return rule
    return rule.model_copy(update=changes)


def _single_precision(module: nn.Module) -> set[str]:
    return {
        name.split(".")[-2]
        for name, parameter in module.named_parameters()
        if name.endswith(".weight")
        and parameter.element_size() == 4
        and name.split(".")[-3] in ("embedding_bags", "embeddings")
    }


def _more_hosts(request: Request, deadline: float) -> tuple[int, float] | None:
    """The fewest hosts that suffice: doubled until they do, then halved in on.

    None if `deadline` comes first.
    """
    per_host = request.cluster.devices_per_host
    low, high = request.cluster.hosts, request.cluster.hosts
    took = None
    while took is None and time.monotonic() < deadline:
        low, high = high, high * 2
        if high * per_host > _MOST_RANKS:
            return None
        took = _fits(_with_hosts(request, high))
    while high - low > 1:
        if time.monotonic() > deadline:
            return None
        middle = (low + high) // 2
        middle_took = _fits(_with_hosts(request, middle))
        if middle_took is None:
            low = middle
        else:
            high, took = middle, middle_took
    return None if took is None else (high, took)


def _with_hosts(request: Request, hosts: int) -> Request:
    return request.changed(cluster=request.cluster.model_copy(update={"hosts": hosts}))


def _fits(request: Request) -> float | None:
    """The predicted time of a first plan, if there is one."""
    try:
        problem = price(request).problem
    except PlannerError:
        return None
    found = search(problem, Budget(rounds=0))
    return None if found.missing else found.time


def _remedy(changes: tuple[Change, ...]) -> str:
    if not changes:
        return "no single change that was tried makes it fit"
    return "it fits with: " + "; or ".join(change.what for change in changes)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _size(count: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:,} bytes"
