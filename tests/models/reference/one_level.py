"""MMoE, Shared-Bottom and single-task towers, one module per part."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.tasks import Task
from models.towers.mmoe import MMoE
from models.towers.shared_bottom import SharedBottom
from models.towers.single_task import SingleTask
from tests.models.reference.parts import (
    Gate,
    Network,
    Reference,
    expert,
    mixed,
)


class ReferenceMmoe(Reference):
    def __init__(self, model: MMoE, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.names = [f"expert.{i}" for i in range(config.num_experts)]
        for name in self.names:
            module = expert(
                self.links, model.level.experts, name, config.normalization, config.activation
            )
            self.add(name, module)
        for task in self.tasks:
            self.add(
                f"gate {task.name}", Gate(self.links, model.level.gates, f"mmoe.gate.{task.name}")
            )
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        outputs = [self.part[name](v) for name in self.names]
        logits = []
        for task in self.tasks:
            weights = F.softmax(self.part[f"gate {task.name}"](v), dim=1)
            logits.append(self.part[f"tower {task.name}"](mixed(weights, outputs)))
        return torch.cat(logits, dim=1)


class ReferenceSingleTask(Reference):
    def __init__(self, model: SingleTask, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        for task in self.tasks:
            module = expert(
                self.links,
                model.experts,
                f"task_specific.{task.name}.0",
                config.normalization,
                config.activation,
            )
            self.add(f"network {task.name}", module)
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        names = [task.name for task in self.tasks]
        return torch.cat(
            [self.part[f"tower {name}"](self.part[f"network {name}"](v)) for name in names], dim=1
        )


class ReferenceSharedBottom(Reference):
    def __init__(self, model: SharedBottom, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.bottom = expert(
            self.links, model.bottom, "bottom.0", config.normalization, config.activation
        )
        for task in self.tasks:
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        y = self.bottom(v)
        return torch.cat([self.part[f"tower {task.name}"](y) for task in self.tasks], dim=1)
