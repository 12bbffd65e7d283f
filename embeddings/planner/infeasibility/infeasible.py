"""Infeasibility as data: missing memory, and relaxations that make a plan fit."""

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
    """A table that does not fit beside the others (for a group, its first table).

    `needs`: bytes of its smallest possible shard; `room`: maximum free bytes of a rank.
    """

    table: str
    memory: str
    needs: int
    room: int
    rank: int
    """The rank with `room` bytes."""

    @property
    def short(self) -> int:
        return self.needs - self.room


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserved:
    """Reserved memory that exceeds the memory of a device, in bytes."""

    memory: str
    needs: int
    room: int
    """Total memory of the device."""

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
    """One-line description."""
    time: float
    ranks: int
    tables: tuple[str, ...] = ()
    """Tables whose rules or type it changes."""
    inputs: Mapping[str, Any]
    """The changed inputs: rules, dtype (of `tables`), replica_groups, hbm_gb, ddr_gb (and
    other_devices), batch_size, or hosts."""
    apart: float
    """Distance from the request in (0, 1]: the share of changed tables, or the relative difference
    of the amounts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingMemory:
    """All missing memory, in bytes."""

    shortfalls: tuple[Shortfall, ...] = ()
    total: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Memory -> (minimum that all tables need, total of all ranks)."""
    left: tuple[tuple[int, ...], ...] = ()
    """Free bytes of each rank beside the placed tables, by MEMORIES."""
    reserved: Reserved | None = None
    """Set if no memory is left for tables at all."""

    def data(self) -> dict[str, Any]:
        """Return JSON values."""
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
        """Kinds of relaxation not tried for lack of time."""

    @property
    def nearest(self) -> Relaxation | None:
        """The smallest relaxation."""
        return min(self.relaxations, key=lambda one: one.apart, default=None)

    def __str__(self) -> str:
        return f"{self.reason}; {self._remedy()}"

    def _remedy(self) -> str:
        if self.relaxations:
            ways = (f"{one.what} ({one.time:.3g} ms)" for one in self.relaxations)
            return "it would fit with: " + "; or ".join(ways)
        late = f" (not tried for lack of time: {', '.join(self.untried)})" if self.untried else ""
        return f"none of the tried relaxations makes it fit{late}"

    def data(self) -> dict[str, Any]:
        """Return everything as JSON values, in bytes and milliseconds."""
        return {
            "kind": KIND,
            "version": VERSION,
            "message": str(self),
            **self.missing_memory.data(),
            "nearest": self.nearest and asdict(self.nearest),
            "relaxations": [asdict(one) for one in self.relaxations],
            "untried": list(self.untried),
        }
