"""What a report needs to see inside a tower."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

Weights = dict[str, dict[str, Tensor]]
"""Who mixes -> name of an expert it may see -> weight [B]."""


@dataclass(slots=True)
class Probe:
    """Pass an empty one to a tower's forward; it comes back filled.

    Names of experts: 'meta.shared.0', 'meta.watch.1', 'level2.global.0',
    'level2.category.watch.0', 'level2.own.click.0' (HoME), 'expert.3' (MMoE).
    """

    experts: dict[str, Tensor] = field(default_factory=dict)
    """Expert -> its output [B, D]."""
    gates: Weights = field(default_factory=dict)
    """Task -> weights of its mixing gate; they sum to 1."""
    self_gates: Weights = field(default_factory=dict)
    """Task -> weights of its self-gate over its own experts, added to those of `gates`."""
    meta_gates: Weights = field(default_factory=dict)
    """The same for level 1: group ('shared' or a category) -> weights."""
    meta_self_gates: Weights = field(default_factory=dict)

    def add_experts(self, names: Sequence[str], out_EBD: Tensor) -> None:
        self.experts.update(zip(names, out_EBD.unbind(0), strict=True))


def by_name(
    weights_BGE: Tensor,
    gates: Sequence[str],
    experts: Sequence[str],
    visible: Sequence[Sequence[int]],
) -> Weights:
    """Weights [B, G, E] as gate -> expert -> [B], for the experts that each gate may see."""
    return {
        gate: {experts[e]: weights_BGE[:, g, e] for e in visible[g]} for g, gate in enumerate(gates)
    }
