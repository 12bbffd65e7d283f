"""A tower in training, next to others on the same batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.losses import task_losses
from models.probe import probing
from models.tasks import Task
from models.tower import auxiliary_loss, init_weights
from models.towers.config import TowerConfig
from pipeline.expert_health.health import ExpertHealth, finite
from pipeline.expert_health.probes import task_specific_norms
from pipeline.io.json_types import Json


class Learner:
    """A tower, its optimizer (AdamW, linear decay to 0), and its best weights so far."""

    def __init__(
        self,
        config: TowerConfig,
        num_features: int,
        tasks: Sequence[Task],
        *,
        seed: int,
        learning_rate: float,
        steps: int,
    ) -> None:
        self.tower = config.build(num_features=num_features, tasks=tasks)
        init_weights(self.tower, seed)
        self.learning_rate, self.best_step, self.best_loss = learning_rate, 0, float("inf")
        self._steps, self._step = steps, 0
        self._best: dict[str, Any] = {}
        self._optimizer = torch.optim.AdamW(self.tower.parameters(), lr=learning_rate, fused=True)

    def step(self, x_BF: Tensor, labels_BT: Tensor, weights_B1: Tensor) -> None:
        """Train on a batch."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * (1 - self._step / self._steps)
        self._optimizer.zero_grad()
        loss = task_losses(self.tower(x_BF), labels_BT, weights_B1).sum()
        if (own := auxiliary_loss(self.tower)) is not None:
            loss = loss + own
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._step += 1

    def keep_if_best(self, loss: float) -> None:
        """Keep the weights if the validation loss is the lowest so far; NaN never is."""
        if loss < self.best_loss:
            self.best_step, self.best_loss = self._step, loss
            self._best = copy.deepcopy(self.tower.state_dict())

    def restore_best(self) -> None:
        if self._best:
            self.tower.load_state_dict(self._best)

    @torch.no_grad()
    def predict(self, x_NF: Tensor) -> Tensor:
        """Return logits [N, T] in eval mode."""
        self.tower.eval()
        logits_NT: Tensor = self.tower(x_NF)
        self.tower.train()
        return logits_NT

    def health(self, x_NF: Tensor, rates: Mapping[str, float]) -> Json:
        """Return the experts' health on some rows, with the gradients of the last step."""
        found = ExpertHealth()
        with probing(self.tower) as probe:
            self.predict(x_NF)
            found.update(probe)
        health = found.compute()
        norms = task_specific_norms(self.tower)
        health["tasks"] = {
            task: {"positive_rate": rate}
            | health["tasks"].get(task, {})
            | {name: finite(value) for name, value in norms.get(task, {}).items()}
            for task, rate in rates.items()
        }
        return health
