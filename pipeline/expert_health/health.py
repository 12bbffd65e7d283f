"""Health of a tower's experts over some batches: numbers for health.json and the log.

Suffixes: E experts, B rows, D width, G pairs of a gate and one of its experts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.probe import Probe
from pipeline.expert_health.expert_use import GATES, add_use

# Outputs this small count as zero: ReLU's exact zeros, and Swish's tail.
_ZERO = 1e-6


class ExpertHealth:
    """Accumulates Probes; `compute` is a collective and returns the same on all ranks.

    Every rank must update the same number of times (evaluation batches are padded to the same
    number), with the same tower, whose experts all have the same width.
    """

    def __init__(self) -> None:
        self._experts: tuple[str, ...] = ()
        self._pairs: tuple[tuple[str, str, str], ...] = ()  # kind of gate, gate, expert
        self._sparse = False
        # Number of rows, of those that run each expert, then sums over rows and ranks, float64.
        self._sums: Tensor | None = None

    @torch.no_grad()
    def update(self, probe: Probe) -> None:
        """Add a batch: experts' outputs [B, D], gate weights [B]."""
        if not probe.experts:
            return
        weights = {
            (kind, gate, expert): weight_B
            for kind in GATES
            for gate, seen in getattr(probe, kind).items()
            for expert, weight_B in seen.items()
        }
        self._experts, self._pairs = tuple(probe.experts), tuple(weights)
        self._sparse = bool(probe.runs)
        out_EBD = torch.stack(list(probe.experts.values())).double()
        zeros_EB = (out_EBD.abs() < _ZERO).sum(2).double()
        runs_EB = torch.ones_like(zeros_EB)
        if self._sparse:
            runs_EB = torch.stack([probe.runs[expert] for expert in probe.experts]).double()
            out_EBD = out_EBD.masked_fill(runs_EB[..., None] == 0, 0.0)
        parts = [
            out_EBD.new_tensor([out_EBD.shape[1]]),
            runs_EB.sum(1),
            out_EBD.sum(1).flatten(),
            out_EBD.square().sum(1).flatten(),
            (zeros_EB * runs_EB).sum(1),
        ]
        if weights:
            parts.append(torch.stack(list(weights.values())).double().sum(1))
        sums = torch.cat(parts)
        self._sums = sums if self._sums is None else self._sums + sums

    def compute(self) -> dict[str, Any]:
        """Return means over all rows of all ranks.

            {"experts": {EXPERT: {"mean", "deviation", "row_deviation", "zero_fraction"; of a
                                  sparse tower also "load" and "weight"}},
             "gates": {TASK: {EXPERT: mean weight}}, "self_gates": {TASK: ...},
             "meta_gates": {GATE: ...}, "meta_self_gates": {GATE: ...},
             "shared": ..., "tasks": ... (see `add_use`)}

        `deviation` is the standard deviation over rows and units, `row_deviation` that over rows
        of a unit (root mean square over units; 0: the output is the same for every row),
        `zero_fraction` the share of outputs below 1e-6 in size. If rows run only some experts, all
        of these are over the rows that run the expert, which then has "load", the share of those
        rows, and "weight", the mean over tasks of its weight. Undefined and non-finite values are
        None. A tower without experts or gates has empty parts.
        """
        health: dict[str, Any] = {"experts": {}, **{kind: {} for kind in GATES}}
        if self._sums is not None:
            if dist.is_initialized():
                dist.all_reduce(self._sums)
            self._fill(health, self._sums.cpu())
            self._sums = None  # they are now sums over all ranks
        return add_use(health)

    def _fill(self, health: dict[str, Any], sums: Tensor) -> None:
        num_experts, num_pairs = len(self._experts), len(self._pairs)
        units = (len(sums) - 1 - 2 * num_experts - num_pairs) // 2
        sizes = [1, num_experts, units, units, num_experts, num_pairs]
        rows, runs_E, total, squares, zeros_E, weights_G = torch.split(sums, sizes)
        means_ED = total.view(num_experts, -1) / runs_E[:, None]
        squares_ED = squares.view(num_experts, -1) / runs_E[:, None]
        mean_E = means_ED.mean(1)
        # The variance of a constant may be slightly negative due to rounding.
        variance_E = (squares_ED.mean(1) - mean_E.square()).clamp(min=0)
        row_variance_E = (squares_ED - means_ED.square()).clamp(min=0).mean(1)
        zeros_E = zeros_E / (runs_E * means_ED.shape[1])
        metrics = torch.stack([mean_E, variance_E.sqrt(), row_variance_E.sqrt(), zeros_E], 1)
        names = ("mean", "deviation", "row_deviation", "zero_fraction")
        for expert, values in zip(self._experts, metrics.tolist(), strict=True):
            health["experts"][expert] = dict(zip(names, map(finite, values), strict=True))
        means = (weights_G / rows).tolist()
        for (kind, gate, expert), mean in zip(self._pairs, means, strict=True):
            health[kind].setdefault(gate, {})[expert] = finite(mean)
        if self._sparse:
            for expert, load in zip(self._experts, (runs_E / rows).tolist(), strict=True):
                weights = [seen[expert] for seen in health["gates"].values() if expert in seen]
                weight = None if None in weights else sum(weights) / max(1, len(weights))
                health["experts"][expert] |= {"load": load, "weight": weight}


def finite(value: float) -> float | None:
    """Return None for non-finite values, which JSON does not have."""
    return value if math.isfinite(value) else None
