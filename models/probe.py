"""Captures experts' outputs and gates' weights with forward hooks, for reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Weights = dict[str, dict[str, Tensor]]
"""Gate -> name of a mixed expert -> weight [B]."""


@dataclass(slots=True)
class Probe:
    """Experts' outputs and gates' weights of one forward pass; empty for a tower without experts.

    Names of experts: 'meta.shared.0', 'meta.watch.1', 'level2.global.0',
    'level2.category.watch.0', 'level2.task_specific.click.0' (HoME), 'expert.3' (MMoE, SMES),
    'level1.shared.0', 'level2.task_specific.click.0' (PLE, AdaTT), 'bottom.0' (Shared-Bottom) and
    'task_specific.click.0' (Single-task), of which the last two have no gates.
    """

    experts: dict[str, Tensor] = field(default_factory=dict)
    """Expert -> output [B, D]; in training after dropout, including its zeros."""
    runs: dict[str, Tensor] = field(default_factory=dict)
    """Expert -> whether the row runs it, [B]; empty if every row runs every expert."""
    gates: Weights = field(default_factory=dict)
    """Task -> weights of its mixing gate at the last level; they sum to 1."""
    self_gates: Weights = field(default_factory=dict)
    """Task -> weights of its self-gate over its own experts, added to those of `gates`; for AdaTT
    the native weights, which are the same for all rows and may be negative."""
    meta_gates: Weights = field(default_factory=dict)
    """Same as `gates` for the levels before the last. Keys are groups in HoME ('shared' and each
    category); in PLE and AdaTT they are tasks and 'shared' by level ('level1.click',
    'level1.shared')."""
    meta_self_gates: Weights = field(default_factory=dict)
    """Same as `self_gates` for the levels before the last."""


@runtime_checkable
class Probed(Protocol):
    """A module inside a tower that adds its values to a Probe."""

    def fill_probe(self, probe: Probe, output: Any) -> None:
        """Add values to the probe. `output` is the result of forward."""
        ...


@contextmanager
def probing(tower: nn.Module) -> Iterator[Probe]:
    """Return a Probe that is refilled by every forward pass of `tower` within the block.

    Within the block a tower compiled with torch.compile runs uncompiled.
    """
    probe = Probe()

    def fill(module: nn.Module, _: Any, output: Any) -> None:
        assert isinstance(module, Probed)
        with torch.no_grad():
            module.fill_probe(probe, output)

    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # else nothing is compiled; importing it takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in tower.modules():
            if isinstance(module, Probed):
                stack.callback(module.register_forward_hook(fill).remove)
        yield probe
