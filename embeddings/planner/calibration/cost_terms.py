"""Extracts the bytes that TorchRec's estimate of a plan divides by each constant.

The estimate is linear in the inverse of each constant. With one constant set to one byte per
millisecond and all others to (almost) infinity, the estimate equals the number of bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.inputs.costs import Costs, KernelCosts, LookupWeights, Shares
from embeddings.planner.plans.fixed_plan import repriced
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import PARTS

EXCHANGES = tuple(Shares.model_fields)
EXCHANGING = ("fwd_comms", "bwd_comms", "input_dist_comms")
TIERS = ("intra", "inter")
_BYTE = 1e-6  # GB/s: one byte per millisecond
_NEVER = 1e12
_LEAST = 0.1
_KINDS = tuple(LookupWeights.model_fields)


def lookup_bytes(file: PlanFile) -> FloatArray:
    """Return bytes of ids read, rows read and outputs written, by rank, [R, 3]."""
    found = []
    for kind in _KINDS:
        one = KernelCosts(
            forward=LookupWeights(**{other: float(other == kind) for other in _KINDS})
        )
        costs = Costs(fused=one, dense=one, block_penalty=False, dense_bw=_BYTE)
        found.append(_reprice(file, costs, memory=_BYTE)[:, PARTS.index("fwd_compute")])
    return np.stack(found, axis=1)


def exchange_bytes(file: PlanFile) -> dict[str, FloatArray]:
    """Return bytes by rank, EXCHANGES and TIERS, [R, 4, 2], for each of EXCHANGING parts."""
    ranks = file.cluster.ranks
    found = {part: np.zeros((ranks, len(EXCHANGES), len(TIERS))) for part in EXCHANGING}
    for i, exchange in enumerate(EXCHANGES):
        shares = Shares(**{other: 1.0 if other == exchange else _NEVER for other in EXCHANGES})
        costs = Costs(shares=shares, dense_bw=_NEVER)
        for j, tier in enumerate(TIERS):
            links = {f"{other}_bw": _BYTE if other == tier else _NEVER for other in TIERS}
            if exchange == "all_reduce":  # in TorchRec every device of a host adds to it
                links["inter_bw"] /= file.cluster.devices_per_host
            answer = _reprice(file, costs, memory=_NEVER, **links)
            for part, counted in found.items():
                counted[:, i, j] = answer[:, PARTS.index(part)]
    return found


def copied_bytes(file: PlanFile) -> FloatArray:
    """Return bytes copied for gradients of row-wise tables, [R]; TorchRec: part of bwd_comms."""
    return _backward_comms_ms(file, Costs(dense_bw=_NEVER), memory=_BYTE)


def optimizer_bytes(file: PlanFile) -> FloatArray:
    """Return bytes of the optimizer of data-parallel tables, [R]; TorchRec: part of bwd_comms."""
    return _backward_comms_ms(file, Costs(dense_bw=_BYTE), memory=_NEVER)


def shards(file: PlanFile) -> FloatArray:
    """Return the number of shards by rank, [R]."""
    ranks = [rank for placed in file.tables for rank in placed.rank_list()]
    return np.bincount(ranks, minlength=file.cluster.ranks).astype(np.float64)


def _backward_comms_ms(file: PlanFile, costs: Costs, *, memory: float) -> FloatArray:
    """Return the bytes of bwd_comms that do not cross links, [R]."""
    answer = _reprice(file, costs, memory=memory, intra_bw=_NEVER, inter_bw=_NEVER)
    return answer[:, PARTS.index("bwd_comms")]


def _reprice(file: PlanFile, costs: Costs, *, memory: float, **links: float) -> FloatArray:
    """Return milliseconds by rank and PARTS, [R, 6], with all other constants as given."""
    bandwidth = "hbm_bw" if file.cluster.device == "cuda" else "ddr_bw"
    changed: dict[str, Any] = {"costs": costs, bandwidth: memory, **links}
    perf = repriced(file, file.cluster.model_copy(update=changed)).perf()
    # Values below one byte are residues of _NEVER, which a fit would treat as bytes.
    found: FloatArray = np.where(perf < _LEAST, 0.0, perf)
    return found
