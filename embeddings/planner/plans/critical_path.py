"""A step in which ranks wait for each other, beside TorchRec's rating, in which none does."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import PARTS

_FORWARD, _SENT, _BACKWARD, _RETURNED, _IDS = (
    PARTS.index(part)
    for part in ("fwd_compute", "fwd_comms", "bwd_compute", "bwd_comms", "input_dist_comms")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticalPath:
    """Milliseconds of a step, fixed costs of sharding types aside."""

    compute: float
    """The slowest rank's lookups, and the slowest rank's backward."""
    comms: float
    """The slowest rank's part of each exchange."""

    @property
    def total(self) -> float:
        return self.compute + self.comms


def critical_path(file: PlanFile) -> CriticalPath:
    """As TorchRec's statistics have it: ranks meet after the lookups, after each exchange (those of
    a collection's tables of one sharding type are one), and after the backward."""
    compute = np.zeros((file.cluster.ranks, 2))
    exchanges: defaultdict[tuple[str, str], FloatArray] = defaultdict(
        lambda: np.zeros((file.cluster.ranks, 2))
    )
    for placed in file.tables:
        ranks, ms = placed.rank_list(), file.shard_perf(placed)
        np.add.at(compute, ranks, ms[:, [_FORWARD, _BACKWARD]])
        np.add.at(exchanges[placed.path, placed.sharding_type], ranks, ms[:, [_SENT, _RETURNED]])
    return CriticalPath(
        compute=float(compute.max(axis=0).sum()),
        comms=float(sum(part.max(axis=0).sum() for part in exchanges.values())),
    )


def slowest_ids(file: PlanFile) -> tuple[float, int]:
    """Milliseconds of the exchange of ids on the rank that has most of it, and that rank."""
    ids = file.perf()[:, _IDS] + file.starts().get("input_dist_comms", 0.0)
    return float(ids.max()), int(ids.argmax())
