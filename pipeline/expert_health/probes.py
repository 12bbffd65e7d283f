"""The experts looked at while they train: every so many steps, the step itself fills the probe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.layers.experts import Experts
from models.probe import Probe
from models.ranker import Head
from pipeline.expert_health.expert_use import own_task
from pipeline.expert_health.health import ExpertHealth, finite
from pipeline.io.json_types import Json
from pipeline.tracking.tracker import Tracker

# One step's gradient is noisy; a handful of looks says what a task's experts get.
_REMEMBERED = 8

Norms = dict[str, dict[str, float | None]]
"""Task -> "weight_norm" and "gradient_norm" of its own experts in one look; None: not finite."""


class TrainingHealth:
    """`before` and `after` surround each step, on every rank; figures go to the log as 'health'.

    Args:
        rates: each task's share of positive rows in the training split.
        every: steps between looks; 0: never.
        remembered: what `remembered` said where the run goes on from.
    """

    def __init__(
        self,
        head: Head,
        tracker: Tracker,
        rates: Mapping[str, float],
        every: int,
        remembered: Sequence[Norms] = (),
    ) -> None:
        self._head = head
        self._tracker = tracker
        self._rates = rates
        self._every = every
        self._norms = deque(remembered, maxlen=_REMEMBERED)

    @property
    def remembered(self) -> list[Norms]:
        """The last looks' norms, to be saved with the weights. Plain JSON, equal on all ranks."""
        return list(self._norms)

    def before(self, step: int) -> None:
        """Before step `step` (counted from 1)."""
        due = self._every > 0 and step % self._every == 0
        self._head.probe = Probe() if due else None

    def after(self, step: int) -> None:
        """After it, before the next one clears the gradients. A collective where a look is due."""
        probe, self._head.probe = self._head.probe, None
        if probe is None:
            return
        adder = ExpertHealth()
        adder.update(probe)
        health = adder.compute()
        norms = own_norms(self._head.tower)
        self._norms.append(
            {
                task: {name: finite(value) for name, value in values.items()}
                for task, values in norms.items()
            }
        )
        for task, values in norms.items():
            health["tasks"].setdefault(task, {}).update(values)
        self._tracker.log(step, dict(_flat(health)), kind="health")

    def add_to(self, health: Json) -> Json:
        """An evaluation's figures with those of training, in "tasks": each task's "positive_rate",
        and "weight_norm" and "gradient_norm" of its own experts, means over the last looks."""
        tasks: dict[str, Json] = {}
        for task, rate in self._rates.items():
            tasks[task] = {"positive_rate": rate} | health["tasks"].get(task, {})
            looks = [norms[task] for norms in self._norms if task in norms]
            for name in looks[0] if looks else ():
                known = [value for look in looks if (value := look[name]) is not None]
                is_whole = len(known) == len(looks)
                tasks[task][name] = finite(sum(known) / len(known)) if is_whole else None
        return health | {"tasks": tasks}


@torch.no_grad()
def own_norms(tower: nn.Module) -> dict[str, dict[str, float]]:
    """Task -> "weight_norm" and "gradient_norm" of all parameters of its own experts.

    Gradients are those that the optimizer took last: of the global batch, after clipping. Equal
    on all ranks. Empty for a tower without such experts.
    """
    names: list[str] = []
    squares = []
    for experts in tower.modules():
        if isinstance(experts, Experts):
            names += experts.names
            weights = list(experts.parameters())
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            squares.append(torch.stack([_squares(weights), _squares(gradients)], 1))
    found: dict[str, list[float]] = {}
    for name, pair in zip(names, torch.cat(squares).tolist(), strict=True):
        task = own_task(name)
        if task is not None:
            sums = found.get(task, (0.0, 0.0))
            found[task] = [total + value for total, value in zip(sums, pair, strict=True)]
    return {
        task: {"weight_norm": weights**0.5, "gradient_norm": gradients**0.5}
        for task, (weights, gradients) in found.items()
    }


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    """Sum of squares over all of `tensors`, each [E, ..], by expert [E], in float64."""
    norms = [torch.linalg.vector_norm(part.flatten(1), dim=1).double() for part in tensors]
    return torch.stack(norms).square().sum(0)


def _flat(tree: Json, prefix: str = "") -> Iterator[tuple[str, float]]:
    """'part/NAME/figure' and value of every leaf."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
