"""Health of a tower's experts over a few evaluation batches: plain numbers for health.json.

Two of the anomalies that HoME cures are seen here: experts whose outputs differ in scale or are
mostly zero (collapse), and gates that leave experts alone (degradation, underfitting).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.probe import Probe

# An output this small feeds nothing forward: ReLU's exact zeros, and Swish's tail.
_ZERO = 1e-6

_GATES = ("gates", "self_gates", "meta_gates", "meta_self_gates")


class ExpertHealth:
    """Adds up Probes; `compute` is a collective and answers the same on all ranks.

    Every rank must update equally often (evaluation batches are filled up to the same number), and
    with the same tower.
    """

    def __init__(self) -> None:
        # What, name(s) -> sums that add up over rows and ranks, float64. In the tower's order.
        self._sums: dict[tuple[str, ...], Tensor] = {}

    @torch.no_grad()
    def update(self, probe: Probe) -> None:
        """Add a batch: experts' outputs [B, D], gate weights [B]."""
        for name, out_BD in probe.experts.items():
            out = out_BD.detach().double()
            zeros = out.abs() < _ZERO
            self._add(("experts", name), out, out.square(), zeros)
        for kind in _GATES:
            for gate, weights in getattr(probe, kind).items():
                for expert, weight_B in weights.items():
                    self._add((kind, gate, expert), weight_B.detach())

    def _add(self, key: tuple[str, ...], *values: Tensor) -> None:
        """Each of `values` summed, and their number."""
        count = torch.ones_like(values[0])
        sums = torch.stack([part.sum(dtype=torch.float64) for part in (*values, count)])
        self._sums[key] = self._sums[key] + sums if key in self._sums else sums

    def compute(self) -> dict[str, Any]:
        """Means over all rows of all ranks.

            {"experts": {EXPERT: {"mean", "deviation", "zero_fraction"}},
             "gates": {TASK: {EXPERT: mean weight}}, "self_gates": {TASK: ...},
             "meta_gates": {GROUP: ...}, "meta_self_gates": {GROUP: ...}}

        `deviation` is the standard deviation over rows and units, `zero_fraction` the share of
        outputs below 1e-6 in size. A tower without experts or gates has empty parts.
        """
        health: dict[str, Any] = {"experts": {}, **{kind: {} for kind in _GATES}}
        if not self._sums:
            return health
        flat = torch.cat(list(self._sums.values()))
        if dist.is_initialized():
            dist.all_reduce(flat)
        values = iter(flat.tolist())
        for kind, *names in self._sums:
            if kind == "experts":
                total, squares, zeros, count = (next(values) for _ in range(4))
                mean = total / count
                health[kind][names[0]] = {
                    "mean": _finite(mean),
                    # Rounding can put a constant's variance just below zero.
                    "deviation": _finite(max(0.0, squares / count - mean**2) ** 0.5),
                    "zero_fraction": zeros / count,
                }
            else:
                gate, expert = names
                total, count = next(values), next(values)
                health[kind].setdefault(gate, {})[expert] = _finite(total / count)
        return health


def _finite(value: float) -> float | None:
    """None for what JSON cannot say: a tower that overflows."""
    return value if math.isfinite(value) else None
