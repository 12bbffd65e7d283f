"""Probes experts during training, every `every` steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from models.layers.experts import Experts
from models.probe import Probe, probing
from models.ranker import Head
from pipeline.expert_health.expert_use import task_of_expert
from pipeline.expert_health.health import ExpertHealth, finite
from pipeline.io.json_types import Json
from pipeline.tracking.tracker import Tracker
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput

# The gradient of one step is noisy, so average over several probes.
_REMEMBERED = 8

Norms = dict[str, dict[str, float | None]]
"""Task -> "weight_norm" and "gradient_norm" of its task-specific experts; None: not finite."""


class ExpertProbe(Hook):
    """Logs the experts' health as 'health'; adds the last norms to that of an evaluation.

    Args:
        rates: each task's share of positive rows in the training split.
        every: steps between probes; 0: never.
        norms: norms of the last probes, oldest first. JSON values, equal on all ranks; the caller
            saves this list with the weights.
    """

    def __init__(
        self,
        head: Head,
        tracker: Tracker,
        rates: Mapping[str, float],
        every: int,
        norms: list[Norms],
    ) -> None:
        self._head = head
        self._tracker = tracker
        self._rates = rates
        self._every = every
        self._norms = norms
        self._active = ExitStack()
        self._probe: Probe | None = None

    def before_step(self, step: int) -> None:
        self._stop()
        if self.needs_verdict(step):
            self._probe = self._active.enter_context(probing(self._head.active_tower))

    def needs_verdict(self, step: int) -> bool:
        return self._every > 0 and step % self._every == 0

    def after_step(self, step: int, output: StepOutput) -> None:
        """Call before the next step clears the gradients. A collective if a probe is due."""
        if not self.needs_verdict(step):  # called late: the probe is of the step after
            return
        probe = self._probe
        self._stop()
        if probe is None or output.skipped:
            return
        adder = ExpertHealth()
        adder.update(probe)
        health = adder.compute()
        norms = task_specific_norms(self._head.tower)
        self._norms.append(
            {
                task: {name: finite(value) for name, value in values.items()}
                for task, values in norms.items()
            }
        )
        del self._norms[:-_REMEMBERED]
        for task, values in norms.items():
            health["tasks"].setdefault(task, {}).update(values)
        self._tracker.log(step, dict(_flat(health)), kind="health")

    def after_segment(self, step: int) -> None:
        self._stop()

    def _stop(self) -> None:
        """Remove the probe's hooks."""
        self._active.close()
        self._probe = None

    def after_evaluation(
        self, step: int, results: Mapping[str, Mapping[str, Any]], health: Json
    ) -> None:
        """Add metrics of training to the health of an evaluation.

        In "tasks": each task's "positive_rate", and "weight_norm" and "gradient_norm" of its
        task-specific experts, averaged over the last probes.
        """
        tasks: dict[str, Json] = {}
        for task, rate in self._rates.items():
            tasks[task] = {"positive_rate": rate} | health["tasks"].get(task, {})
            probes = [norms[task] for norms in self._norms if task in norms]
            for name in probes[0] if probes else ():
                known = [value for probe in probes if (value := probe[name]) is not None]
                is_whole = len(known) == len(probes)
                tasks[task][name] = finite(sum(known) / len(known)) if is_whole else None
        health["tasks"] = tasks


@torch.no_grad()
def task_specific_norms(tower: nn.Module) -> dict[str, dict[str, float]]:
    """Return task -> "weight_norm" and "gradient_norm" of its task-specific experts' parameters.

    Gradients are those of the last optimizer step: of the global batch, after clipping. Equal on
    all ranks. Empty for a tower without such experts.
    """
    names: list[str] = []
    squares = []
    for experts in tower.modules():
        if isinstance(experts, Experts):
            names += experts.names
            weights = list(experts.parameters())
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            squares.append(torch.stack([_squares(weights), _squares(gradients)], 1))
    if not names:
        return {}
    found: dict[str, list[float]] = {}
    for name, pair in zip(names, torch.cat(squares).tolist(), strict=True):
        task = task_of_expert(name)
        if task is not None:
            sums = found.get(task, (0.0, 0.0))
            found[task] = [total + value for total, value in zip(sums, pair, strict=True)]
    return {
        task: {"weight_norm": weights**0.5, "gradient_norm": gradients**0.5}
        for task, (weights, gradients) in found.items()
    }


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of squares over `tensors`, each [E, ..], by expert, [E], in float64."""
    norms = [torch.linalg.vector_norm(part.flatten(1), dim=1).double() for part in tensors]
    return torch.stack(norms).square().sum(0)


def _flat(tree: Json, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield 'part/NAME/metric' and value of every leaf."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
