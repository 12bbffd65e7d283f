"""Infeasibility as data: what is missing where, and relaxations that make a plan fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from embeddings.planner.plans.stock_plan import PlanError
from embeddings.planner.problem.options import MEMORIES

KIND = "homerec infeasible plan"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """A table that found no place beside the others (or a group: its first table).

    `needs`: bytes of its smallest possible shard; `room`: the most that a rank has left for it.
    """

    table: str
    memory: str
    needs: int
    room: int
    rank: int
    """The rank that has `room`."""

    @property
    def short(self) -> int:
        return self.needs - self.room


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserved:
    """What is kept from tables where that alone is more than a device has. Bytes."""

    memory: str
    needs: int
    room: int
    """All of the device's."""

    @property
    def short(self) -> int:
        return self.needs - self.room


@dataclass(frozen=True, kw_only=True, slots=True)
class Relaxation:
    """A relaxation that makes a plan fit, and that plan's predicted milliseconds: of a first plan,
    which a search improves."""

    kind: str
    """types, kernels, fp16, replicas, memory, batch or ranks."""
    what: str
    """One line for a person."""
    time: float
    ranks: int
    tables: tuple[str, ...] = ()
    """Whose rules or type it changes."""
    inputs: Mapping[str, Any]
    """The inputs as they are then: rules, dtype (of `tables`), replica_groups, hbm_gb, ddr_gb,
    batch_size, or hosts."""
    apart: float
    """From what was asked for, above 0, at most 1: the share of the tables that change; or of the
    larger amount, what the smaller one lacks of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingMemory:
    """All that is missing. Bytes."""

    shortfalls: tuple[Shortfall, ...] = ()
    total: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Memory -> (least that all tables need, what all ranks have)."""
    left: tuple[tuple[int, int], ...] = ()
    """What each rank has left beside the tables that found room, by MEMORIES."""
    reserved: Reserved | None = None
    """Where nothing is left for tables at all."""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "missing": [{**asdict(row), "short": row.short} for row in self.shortfalls],
            "total": {
                memory: {"needs": needs, "room": room}
                for memory, (needs, room) in self.total.items()
            },
            "ranks": [
                {"rank": rank, "left": dict(zip(MEMORIES, left, strict=True))}
                for rank, left in enumerate(self.left)
            ],
            "reserved": self.reserved and {**asdict(self.reserved), "short": self.reserved.short},
        }


class Infeasible(PlanError):
    """No plan fits. The message is one line; the rest is data."""

    def __init__(
        self,
        reason: str,
        missing_memory: MissingMemory,
        relaxations: tuple[Relaxation, ...] = (),
        untried: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason, missing_memory, relaxations, untried)
        self.reason = reason
        self.missing_memory = missing_memory
        self.relaxations = tuple(sorted(relaxations, key=lambda one: one.time))
        """Those that make a plan fit, the fastest first."""
        self.untried = untried
        """Kinds of relaxation that time ran out for."""

    @property
    def nearest(self) -> Relaxation | None:
        """The relaxation that changes least."""
        return min(self.relaxations, key=lambda one: one.apart, default=None)

    def __str__(self) -> str:
        return f"{self.reason}; {self._remedy()}"

    def _remedy(self) -> str:
        if self.relaxations:
            ways = (f"{one.what} ({one.time:.3g} ms)" for one in self.relaxations)
            return "it fits with: " + "; or ".join(ways)
        late = f" (no time for {', '.join(self.untried)})" if self.untried else ""
        return f"none of the changes tried makes it fit{late}"

    def data(self) -> dict[str, Any]:
        """All of it as plain data: bytes, milliseconds."""
        return {
            "kind": KIND,
            "version": VERSION,
            "message": str(self),
            **self.missing_memory.data(),
            "nearest": self.nearest and asdict(self.nearest),
            "relaxations": [asdict(one) for one in self.relaxations],
            "untried": list(self.untried),
        }
