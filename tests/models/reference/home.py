"""HoME, one module per part."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.tasks import Task
from models.towers.home import HoME
from tests.models.reference.parts import (
    FeatureGate,
    Gate,
    Network,
    Reference,
    expert,
    mixed,
    self_mixed,
)


class ReferenceHome(Reference):
    def __init__(self, model: HoME, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.config = config
        links = self.links

        def add_level(level: Any, groups: dict[str, int]) -> None:
            for group, size in groups.items():
                if level.feature_gates is not None and config.feature_gate_per == "group":
                    self.add(f"mask {group}", FeatureGate(links, level.feature_gates, group))
                for i in range(size):
                    name = f"{group}.{i}"
                    module = expert(
                        links, level.experts, name, config.normalization, config.activation
                    )
                    self.add(name, module)
                    if level.feature_gates is not None and config.feature_gate_per == "expert":
                        self.add(f"mask {name}", FeatureGate(links, level.feature_gates, name))

        add_level(
            model.level1,
            {f"meta.{group}": config.num_meta_experts for group in ["shared", *self.categories]},
        )
        for group in ["shared", *self.categories]:
            self.add(f"gate {group}", Gate(links, model.level1.gates, f"meta.gate.{group}"))
            if config.self_gate:
                gate = Gate(links, model.level1.gates, f"meta.self_gate.{group}")
                self.add(f"self_gate {group}", gate)
        add_level(
            model.level2,
            {"level2.global": config.num_global_experts}
            | {f"level2.category.{c}": config.num_category_experts for c in self.categories}
            | {
                f"level2.task_specific.{task.name}": config.num_task_specific_experts
                for task in self.tasks
            },
        )
        for task in self.tasks:
            name = task.name
            self.add(f"task_gate {name}", Gate(links, model.level2.gates, f"level2.gate.{name}"))
            if config.self_gate:
                gate = Gate(links, model.level2.gates, f"level2.self_gate.{name}")
                self.add(f"task_self_gate {name}", gate)
            self.add(f"tower {name}", Network(links, model.towers, name, config.activation))

    def group(self, group: str, size: int, x: Tensor) -> list[Tensor]:
        """Outputs of the experts of one group on their common input x."""
        outputs = []
        for i in range(size):
            name = f"{group}.{i}"
            mask = self.part.get(f"mask {name}", self.part.get(f"mask {group}"))
            outputs.append(self.part[name](x if mask is None else mask(x)))
        return outputs

    def forward(self, v: Tensor) -> Tensor:
        config, part = self.config, self.part
        meta = {
            group: self.group(f"meta.{group}", config.num_meta_experts, v)
            for group in ["shared", *self.categories]
        }
        z: dict[str, Tensor] = {}
        for group in ["shared", *self.categories]:
            seen = [*meta["shared"], *meta[group]]
            if group == "shared":
                seen = [output for outputs in meta.values() for output in outputs]
            z[group] = mixed(part[f"gate {group}"](v).softmax(1), seen)
            if config.self_gate:
                gate = part[f"self_gate {group}"]
                assert isinstance(gate, Gate)
                z[group] = z[group] + self_mixed(gate, v, meta[group])

        shared = self.group("level2.global", config.num_global_experts, z["shared"])
        of_category = {
            c: self.group(f"level2.category.{c}", config.num_category_experts, z[c])
            for c in self.categories
        }
        own = {
            t.name: self.group(
                f"level2.task_specific.{t.name}", config.num_task_specific_experts, z[t.category]
            )
            for t in self.tasks
        }
        # The order in which an unmasked gate sees the tasks' own experts.
        ordered = sorted(self.tasks, key=lambda t: (t.category, t.name))
        logits = []
        for task in self.tasks:
            name, category = task.name, task.category
            if config.hierarchy_mask:
                seen = [*shared, *of_category[category], *own[name]]
            else:
                seen = [*shared]
                seen += [output for c in self.categories for output in of_category[c]]
                seen += [output for t in ordered for output in own[t.name]]
            both = torch.cat([z[category], z["shared"]], dim=1)
            y = mixed(part[f"task_gate {name}"](both).softmax(1), seen)
            if config.self_gate:
                gate = part[f"task_self_gate {name}"]
                assert isinstance(gate, Gate)
                y = y + self_mixed(gate, z[category], own[name])
            logits.append(part[f"tower {name}"](y))
        return torch.cat(logits, dim=1)
