"""What a report needs to see inside a tower, captured by forward hooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Weights = dict[str, dict[str, Tensor]]
"""Gate -> name of an expert that it mixes -> weight [B]."""


@dataclass(slots=True)
class Probe:
    """Experts' outputs and gates' weights of one forward pass; empty for a tower that shows none.

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


@runtime_checkable
class Probed(Protocol):
    """A module inside a tower that adds what it computed to a Probe."""

    def fill_probe(self, probe: Probe, output: Any) -> None:
        """`output`: what its forward returned."""
        ...


@contextmanager
def probing(tower: nn.Module) -> Iterator[Probe]:
    """A Probe that every forward pass of `tower` within the block fills anew.

    A tower that torch.compile has compiled runs uncompiled for as long.
    """
    probe = Probe()

    def fill(module: nn.Module, _: Any, output: Any) -> None:
        assert isinstance(module, Probed)
        with torch.no_grad():
            module.fill_probe(probe, output)

    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and its import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in tower.modules():
            if isinstance(module, Probed):
                stack.callback(module.register_forward_hook(fill).remove)
        yield probe
