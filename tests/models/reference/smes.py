"""SMES, one module per part, one row and task at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.tasks import Task
from models.towers.smes import SMES
from tests.models.reference.parts import Gate, Network, Reference, expert


class ReferenceSmes(Reference):
    """After a forward, `chosen` has the experts of each row by task, `load_balancing` the loss."""

    def __init__(self, model: SMES, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.config = config
        self.names = [f"expert.{i}" for i in range(config.num_experts)]
        for name in self.names:
            self.add(
                name,
                expert(
                    self.links,
                    model.routed.experts,
                    name,
                    config.normalization,
                    config.activation,
                ),
            )
        for task in self.tasks:
            router = Gate(self.links, model.routed.routers, f"smes.router.{task.name}")
            self.add(f"router {task.name}", router)
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)
        self.chosen: list[dict[str, list[int]]] = []

    def forward(self, v: Tensor) -> Tensor:
        routing = {task.name: self.part[f"router {task.name}"](v).softmax(1) for task in self.tasks}
        self.chosen = [
            self._choose({name: p[b].detach() for name, p in routing.items()})
            for b in range(len(v))
        ]
        logits = []
        for task in self.tasks:
            p, rows = routing[task.name], []
            for b in range(len(v)):
                total = sum(p[b, e] for e in self.chosen[b][task.name])
                rows.append(
                    sum(
                        p[b, e] / total * self.part[self.names[e]](v[b : b + 1])
                        for e in self.chosen[b][task.name]
                    )
                )
            logits.append(self.part[f"tower {task.name}"](torch.cat(rows)))
        self.load_balancing = self._load_balancing(routing)
        return torch.cat(logits, dim=1)

    def _choose(self, p: dict[str, Tensor]) -> dict[str, list[int]]:
        """The chosen experts of one row by task; `sorted` keeps the order of equal ones."""
        everyone = range(self.config.num_experts)
        # In the order of the tower's own sum, which rounds.
        ordered = sorted(self.tasks, key=lambda t: (t.category, t.name))
        total = torch.stack([p[task.name] for task in ordered]).sum(0)
        shared = sorted(everyone, key=lambda e: -float(total[e]))[: self.config.shared_top_k]
        chosen = {}
        for task in self.tasks:
            others = [e for e in everyone if e not in shared]
            others = sorted(others, key=lambda e: -float(p[task.name][e]))
            chosen[task.name] = shared + others[: self.config.task_top_k]
        return chosen

    def _load_balancing(self, routing: dict[str, Tensor]) -> Tensor:
        num_chosen = self.config.shared_top_k + self.config.task_top_k
        num_rows, num_tasks = len(self.chosen), len(self.tasks)
        loss = torch.zeros(())
        for e in range(self.config.num_experts):
            users = sum(e in chosen[t] for chosen in self.chosen for t in chosen)
            share = users / (num_rows * num_tasks)
            weight = sum(p[:, e].mean() for p in routing.values()) / num_tasks
            loss = loss + share * weight
        return self.config.num_experts / num_chosen * loss
