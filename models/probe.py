"""What a report needs to see inside a tower."""

from dataclasses import dataclass, field

from torch import Tensor

Weights = dict[str, dict[str, Tensor]]
"""Who mixes -> name of an expert it may see -> weight [B]."""


@dataclass(slots=True)
class Probe:
    """Pass an empty one to a tower's forward; it comes back filled.

    Names of experts: 'meta.shared.0', 'meta.watch.1', 'level2.global.0',
    'level2.category.watch.0', 'level2.task_specific.click.0' (HoME), 'expert.3' (MMoE),
    'level1.shared.0', 'level2.task_specific.click.0' (PLE, AdaTT), 'bottom.0' (Shared-Bottom) and
    'task_specific.click.0' (Single-task), of which the last two have no gates.
    """

    experts: dict[str, Tensor] = field(default_factory=dict)
    """Expert -> its output [B, D]; in training after dropout, whose zeros are in it."""
    gates: Weights = field(default_factory=dict)
    """Task -> weights of its mixing gate, that of the last level; they sum to 1."""
    self_gates: Weights = field(default_factory=dict)
    """Task -> weights of its self-gate over its own experts, added to those of `gates`; AdaTT's
    native weights, which are the same for all rows and may be negative."""
    meta_gates: Weights = field(default_factory=dict)
    """As `gates` for the levels before the last. HoME's level 1 mixes for groups: 'shared' and
    each category. PLE's and AdaTT's mix for tasks and for 'shared', what all tasks read: here
    'level1.click', 'level1.shared'."""
    meta_self_gates: Weights = field(default_factory=dict)
    """As `self_gates` for the levels before the last."""
