"""SMES, a sparse tower: each row runs few of the experts, chosen for all tasks and for each.

Follows Zhang et al., arXiv 2602.09386, which was published without code.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from models.layers import sparse_experts
from models.layers.experts import Experts, TaskTowers
from models.layers.fused.mixture import mix
from models.layers.gates import Gate, Gates
from models.layers.norm import BatchMean
from models.layers.routing import Routing, load_balancing_loss, route
from models.probe import Probe
from models.tasks import Task, canonical
from models.towers.config import SmesConfig


class Routed(NamedTuple):
    """Mixtures of the chosen experts, and how they were chosen."""

    outputs_BTD: Tensor
    experts_EBD: Tensor
    """Outputs of the experts; without meaning where no task of the row uses the expert."""
    routing: Routing


class RoutedExperts(nn.Module):
    """E experts, and a router for each task that mixes those it chooses."""

    def __init__(
        self,
        config: SmesConfig,
        num_features: int,
        tasks: Sequence[str],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.top_k = (config.shared_top_k, config.task_top_k)
        names = [f"expert.{i}" for i in range(config.num_experts)]
        self.tasks = tuple(tasks)
        self.most_experts = min(
            config.num_experts, config.shared_top_k + len(tasks) * config.task_top_k
        )
        """Largest number of experts that a row can run."""
        self.experts = Experts(names, num_features, config, batch_mean)
        routers = [Gate(f"smes.router.{task}", [0], range(len(names))) for task in tasks]
        self.routers = Gates(routers, num_features, 1, len(names))

    def forward(self, v_BF: Tensor) -> Routed:
        routing = route(self.routers(v_BF[:, None]), *self.top_k)
        runs_BE = routing.chosen_BTE.any(1)
        if sparse_experts.is_wanted(v_BF, runs_BE):
            experts_EBD = sparse_experts.run_chosen(self.experts, v_BF, runs_BE)
        else:
            experts_EBD = self.experts(v_BF)
        return Routed(mix(routing.weights_BTE, experts_EBD), experts_EBD, routing)

    def fill_probe(self, probe: Probe, output: Routed) -> None:
        """Add experts, the rows that run them, and the weights of each task's mixture."""
        names = self.experts.names
        chosen_BTE, weights_BTE = output.routing.chosen_BTE, output.routing.weights_BTE.detach()
        probe.experts = dict(zip(names, output.experts_EBD.detach().unbind(0), strict=True))
        probe.runs = dict(zip(names, chosen_BTE.any(1).unbind(1), strict=True))
        probe.gates = {
            task: dict(zip(names, weights_BE.unbind(1), strict=True))
            for task, weights_BE in zip(self.tasks, weights_BTE.unbind(1), strict=True)
        }

    def init_weights(self, seed: int) -> None:
        self.experts.init_weights(seed)
        self.routers.init_weights(seed)


class SMES(nn.Module):
    """See SmesConfig. Call `init_weights` before use.

    With v the features, p_t = softmax(router_t(v)) over the experts, and S_t those chosen for t
    (models/layers/routing.py):

        y_t     = sum_{e in S_t} p_te / (sum_{i in S_t} p_ti) expert_e(v)
        logit_t = tower_t(y_t)
    """

    def __init__(
        self,
        config: SmesConfig,
        num_features: int,
        tasks: Sequence[Task],
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.towers = TaskTowers(tasks, config)
        names = [task.name for task in canonical(tasks)]
        self.routed = RoutedExperts(config, num_features, names, batch_mean)
        self._batch_mean = batch_mean
        self._auxiliary: Tensor | None = None

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        routed = self.routed(v_BF)
        if self.training:
            loss = load_balancing_loss(routed.routing, self._batch_mean)
            self._auxiliary = self.config.load_balancing_weight * loss
        return self.towers(routed.outputs_BTD.transpose(0, 1))

    def auxiliary_loss(self) -> Tensor:
        """Return the weighted load-balancing loss of the last training step. Can be called once."""
        loss, self._auxiliary = self._auxiliary, None
        assert loss is not None, "no training step has run"
        return loss

    def init_weights(self, seed: int) -> None:
        """Initialize every parameter and buffer from its name and `seed`."""
        self.routed.init_weights(seed)
        self.towers.init_weights(seed)
