"""What TorchRec's estimate of a plan counts: bytes, by what they are divided by.

The estimate is linear in the inverse of each constant. So it is asked with one constant such that
a byte takes a millisecond, and all others such that theirs take none: its answer is the bytes.
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
_BYTE = 1e-6  # GB/s: a byte a millisecond
_NEVER = 1e12
_LEAST = 0.1
_KINDS = tuple(LookupWeights.model_fields)


def lookup_bytes(file: PlanFile) -> FloatArray:
    """[R, 3] of ids read, rows read, outputs written, by rank."""
    found = []
    for kind in _KINDS:
        one = KernelCosts(
            forward=LookupWeights(**{other: float(other == kind) for other in _KINDS})
        )
        costs = Costs(fused=one, dense=one, block_penalty=False, dense_bw=_BYTE)
        found.append(_reprice(file, costs, memory=_BYTE)[:, PARTS.index("fwd_compute")])
    return np.stack(found, axis=1)


def exchange_bytes(file: PlanFile) -> dict[str, FloatArray]:
    """[R, 4, 2] by rank, EXCHANGES and TIERS, of each of EXCHANGING parts."""
    ranks = file.cluster.ranks
    found = {part: np.zeros((ranks, len(EXCHANGES), len(TIERS))) for part in EXCHANGING}
    for i, exchange in enumerate(EXCHANGES):
        shares = Shares(**{other: 1.0 if other == exchange else _NEVER for other in EXCHANGES})
        costs = Costs(shares=shares, dense_bw=_NEVER)
        for j, tier in enumerate(TIERS):
            links = {f"{other}_bw": _BYTE if other == tier else _NEVER for other in TIERS}
            if exchange == "all_reduce":  # TorchRec has every device of a host add to it
                links["inter_bw"] /= file.cluster.devices_per_host
            answer = _reprice(file, costs, memory=_NEVER, **links)
            for part, counted in found.items():
                counted[:, i, j] = answer[:, PARTS.index(part)]
    return found


def copied_bytes(file: PlanFile) -> FloatArray:
    """[R] that row-wise tables' gradients are copied for, which TorchRec has in bwd_comms."""
    return _backward_comms_ms(file, Costs(dense_bw=_NEVER), memory=_BYTE)


def optimizer_bytes(file: PlanFile) -> FloatArray:
    """[R] that the optimizer of data-parallel tables reads and writes, in bwd_comms too."""
    return _backward_comms_ms(file, Costs(dense_bw=_BYTE), memory=_NEVER)


def shards(file: PlanFile) -> FloatArray:
    """[R] number of shards."""
    ranks = [rank for placed in file.tables for rank in placed.rank_list()]
    return np.bincount(ranks, minlength=file.cluster.ranks).astype(np.float64)


def _backward_comms_ms(file: PlanFile, costs: Costs, *, memory: float) -> FloatArray:
    """[R] of bwd_comms, nothing of it over links."""
    answer = _reprice(file, costs, memory=memory, intra_bw=_NEVER, inter_bw=_NEVER)
    return answer[:, PARTS.index("bwd_comms")]


def _reprice(file: PlanFile, costs: Costs, *, memory: float, **links: float) -> FloatArray:
    """[R, 6] milliseconds by rank and PARTS, all other constants as given."""
    bandwidth = "hbm_bw" if file.cluster.device == "cuda" else "ddr_bw"
    changed: dict[str, Any] = {"costs": costs, bandwidth: memory, **links}
    perf = repriced(file, file.cluster.model_copy(update=changed)).perf()
    # Less than a byte is what _NEVER leaves, and would look like bytes to a fit.
    found: FloatArray = np.where(perf < _LEAST, 0.0, perf)
    return found
