"""PLE and AdaTT, one module per part."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.gates import NativeWeights
from models.tasks import Task
from models.towers.adatt import AdaTT
from models.towers.level import Level
from models.towers.ple import PLE
from tests.models.reference.parts import (
    Gate,
    Links,
    Network,
    Reference,
    expert,
    mixed,
    take,
)


class ReferencePle(Reference):
    def __init__(self, model: PLE, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.config = config
        for i, level in enumerate(model.levels, start=1):
            assert isinstance(level, Level)
            names = [f"level{i}.shared.{n}" for n in range(config.num_shared_experts)]
            for task in self.tasks:
                names += [
                    f"level{i}.task_specific.{task.name}.{n}"
                    for n in range(config.num_task_specific_experts)
                ]
            for name in names:
                module = expert(
                    self.links, level.experts, name, config.normalization, config.activation
                )
                self.add(name, module)
            gates = [task.name for task in self.tasks]
            if i < config.num_levels:
                gates.append("shared")
            for name in gates:
                gate = Gate(self.links, level.gates, f"level{i}.gate.{name}")
                self.add(f"level{i} gate {name}", gate)
        for task in self.tasks:
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        config, part = self.config, self.part
        ordered = sorted(self.tasks, key=lambda t: (t.category, t.name))
        x = {task.name: v for task in self.tasks}
        x_shared = v
        for i in range(1, config.num_levels + 1):
            shared = [
                part[f"level{i}.shared.{n}"](x_shared) for n in range(config.num_shared_experts)
            ]
            own = {
                task.name: [
                    part[f"level{i}.task_specific.{task.name}.{n}"](x[task.name])
                    for n in range(config.num_task_specific_experts)
                ]
                for task in self.tasks
            }
            mixed_own = {}
            for task in self.tasks:
                weights = part[f"level{i} gate {task.name}"](x[task.name]).softmax(1)
                mixed_own[task.name] = mixed(weights, [*shared, *own[task.name]])
            if i < config.num_levels:
                weights = part[f"level{i} gate shared"](x_shared).softmax(1)
                everyone = [output for task in ordered for output in own[task.name]]
                x_shared = mixed(weights, [*shared, *everyone])
            x = mixed_own
        return torch.cat([part[f"tower {t.name}"](x[t.name]) for t in self.tasks], dim=1)


class Native(nn.Module):
    """Fixed weights of a unit's own experts: 1 for a single one, learned for several."""

    def __init__(self, links: Links, natives: NativeWeights, name: str, num_own: int) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = None
        if num_own > 1:
            names = [gate.name for gate in natives.learned]
            start = sum(len(gate.experts) for gate in natives.learned[: names.index(name)])
            assert natives.weight is not None
            self.weight = take(links, natives.weight, slice(start, start + num_own))

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        if self.weight is None:
            (output,) = outputs
            return output
        total = torch.zeros_like(outputs[0])
        for weight, output in zip(self.weight, outputs, strict=True):
            total = total + weight * output
        return total


class ReferenceAdatt(Reference):
    def __init__(self, model: AdaTT, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.config = config
        self.sizes = {task.name: config.num_task_specific_experts for task in self.tasks}
        if config.num_shared_experts:
            self.sizes["shared"] = config.num_shared_experts
        for i, level in enumerate(model.levels, start=1):
            assert isinstance(level, Level)
            assert level.native_weights is not None
            for unit, size in self.sizes.items():
                group = f"level{i}.shared" if unit == "shared" else f"level{i}.task_specific.{unit}"
                for n in range(size):
                    module = expert(
                        self.links,
                        level.experts,
                        f"{group}.{n}",
                        config.normalization,
                        config.activation,
                    )
                    self.add(f"level{i} expert {unit} {n}", module)
                if unit == "shared" and i == config.num_levels:
                    continue
                gate = Gate(self.links, level.gates, f"level{i}.gate.{unit}")
                self.add(f"level{i} gate {unit}", gate)
                native = Native(self.links, level.native_weights, f"level{i}.native.{unit}", size)
                self.add(f"level{i} native {unit}", native)
        for task in self.tasks:
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        part = self.part
        # The order in which gates see experts: the shared ones, then those of each task.
        ordered = ["shared"] if self.config.num_shared_experts else []
        ordered += [t.name for t in sorted(self.tasks, key=lambda t: (t.category, t.name))]
        x = dict.fromkeys(ordered, v)
        for i in range(1, self.config.num_levels + 1):
            own = {
                unit: [part[f"level{i} expert {unit} {n}"](x[unit]) for n in range(size)]
                for unit, size in self.sizes.items()
            }
            everyone = [output for unit in ordered for output in own[unit]]
            # The shared unit has no part in the last level's outputs.
            x = {
                unit: mixed(part[f"level{i} gate {unit}"](x[unit]).softmax(1), everyone)
                + part[f"level{i} native {unit}"](own[unit])
                for unit in ordered
                if f"level{i} gate {unit}" in part
            }
        return torch.cat([part[f"tower {t.name}"](x[t.name]) for t in self.tasks], dim=1)
