"""Naive forms of the towers: one small module per expert, gate and mask.

Each is built from a batched tower and takes copies of its weights; `links` says which slice
of the batched tower each weight came from, so that gradients can be compared as well. The
wiring is derived afresh from config and tasks. Also the 'naive' form of benchmarks/tower.py.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.config import Normalisation
from models.layers.experts import ExpertLayer, Experts, TaskTowers
from models.layers.feature_gates import FeatureGates
from models.layers.gates import Gates, NativeWeights
from models.layers.linear import StackedLinear
from models.layers.norm import EPS, MOMENTUM, BatchNorm, LayerNorm, Shift
from models.tasks import Task
from models.towers.adatt import AdaTT
from models.towers.home import HoME
from models.towers.level import Level
from models.towers.mmoe import MMoE
from models.towers.ple import PLE
from models.towers.shared_bottom import SharedBottom
from models.towers.single_task import SingleTask


class Link(NamedTuple):
    """`parameter` is a copy of `source[index]`."""

    source: nn.Parameter
    index: Any
    parameter: nn.Parameter


Links = list[Link]


def take(links: Links, source: nn.Parameter, index: Any) -> nn.Parameter:
    parameter = nn.Parameter(source.detach()[index].clone())
    links.append(Link(source, index, parameter))
    return parameter


def activate(x: Tensor, activation: str) -> Tensor:
    return F.silu(x) if activation == "swish" else F.relu(x)


class Layer(nn.Module):
    """activation(norm(Linear(x))) of expert e."""

    def __init__(
        self,
        links: Links,
        weight: nn.Parameter,
        norm: nn.Module,
        e: int,
        normalisation: Normalisation,
        activation: str,
    ) -> None:
        super().__init__()
        assert isinstance(norm, BatchNorm | LayerNorm | Shift)
        out_features, in_features = weight.shape[1:]
        self.activation = activation
        self.linear = nn.Linear(in_features, out_features, bias=normalisation == "none")
        self.linear.weight = take(links, weight, e)
        self.norm: nn.BatchNorm1d | nn.LayerNorm | nn.Identity = nn.Identity()
        if isinstance(norm, BatchNorm):
            self.norm = nn.BatchNorm1d(out_features, eps=EPS, momentum=MOMENTUM)
            self.norm.running_mean = norm.running_mean[e].clone()
            self.norm.running_var = norm.running_var[e].clone()
        if isinstance(norm, LayerNorm):
            self.norm = nn.LayerNorm(out_features, eps=EPS)
        if isinstance(norm, Shift):
            self.linear.bias = take(links, norm.bias, e)
        else:
            self.norm.weight = take(links, norm.weight, e)
            self.norm.bias = take(links, norm.bias, e)

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.norm(self.linear(x)), self.activation)


def expert(
    links: Links, experts: Experts, name: str, normalisation: Normalisation, activation: str
) -> nn.Sequential:
    e = experts.names.index(name)
    layers = [layer for layer in experts.layers if isinstance(layer, ExpertLayer)]
    return nn.Sequential(
        *(
            Layer(links, layer.linear.weight, layer.norm, e, normalisation, activation)
            for layer in layers
        )
    )


class Tower(nn.Module):
    def __init__(self, links: Links, towers: TaskTowers, name: str, activation: str) -> None:
        super().__init__()
        t = towers.names.index(name)
        self.activation = activation
        self.layers = nn.ModuleList()
        for stacked, bias in zip(towers.linears, towers.biases, strict=True):
            assert isinstance(stacked, StackedLinear)
            layer = nn.Linear(stacked.weight.shape[2], stacked.weight.shape[1])
            layer.weight = take(links, stacked.weight, t)
            layer.bias = take(links, bias, (t, 0))
            self.layers.append(layer)

    def forward(self, y: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            y = activate(layer(y), self.activation)
        return self.layers[-1](y)


class Gate(nn.Module):
    """Linear(x): one logit per expert."""

    def __init__(self, links: Links, gates: Gates, name: str) -> None:
        super().__init__()
        names = [gate.name for gate in gates.gates]
        g = names.index(name)
        before, gate = gates.gates[:g], gates.gates[g]
        num_inputs, num_experts = len(gate.inputs), len(gate.experts)
        start = sum(len(other.experts) * len(other.inputs) for other in before)
        start_bias = sum(len(other.experts) for other in before)
        self.bias = take(links, gates.bias, slice(start_bias, start_bias + num_experts))
        # Weights on the i-th input stand in every num_inputs-th row.
        rows = [
            slice(start + i, start + num_experts * num_inputs, num_inputs)
            for i in range(num_inputs)
        ]
        self.weights = nn.ParameterList(take(links, gates.weight, row) for row in rows)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.cat(list(self.weights), dim=1), self.bias)


def mixed(weights: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    assert weights.shape[1] == len(outputs)
    total = torch.zeros_like(outputs[0])
    for i, output in enumerate(outputs):
        total = total + weights[:, i : i + 1] * output
    return total


def self_mixed(gate: Gate, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    logits = gate(x)
    return mixed(logits.sigmoid() if len(outputs) == 1 else logits.softmax(1), outputs)


class FeatureGate(nn.Module):
    def __init__(self, links: Links, gates: FeatureGates, name: str) -> None:
        super().__init__()
        e = gates.names.index(name)
        num_masks, _, rank, features = gates.up.shape
        weight = gates.down.weight
        self.mix = nn.Linear(features, num_masks)
        self.mix.weight = take(links, weight, (e, slice(num_masks * rank, None)))
        self.mix.bias = take(links, gates.mixing_bias, e)
        self.down = nn.ParameterList(
            take(links, weight, (e, slice(i * rank, (i + 1) * rank))) for i in range(num_masks)
        )
        self.up = nn.ParameterList(take(links, gates.up, (i, e)) for i in range(num_masks))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.mix(x).softmax(1)
        mask = torch.zeros_like(x)
        for i, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            mask = mask + weights[:, i : i + 1] * 2 * torch.sigmoid(x @ down.T @ up)
        return x * mask


class Reference(nn.Module):
    """What the references share: a registry of modules under any name."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.links: Links = []
        self.tasks = tuple(tasks)
        self.categories = sorted({task.category for task in tasks})
        self.part: dict[str, nn.Module] = {}
        self.parts = nn.ModuleList()

    def add(self, name: str, module: nn.Module) -> None:
        self.part[name] = module
        self.parts.append(module)


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
                        links, level.experts, name, config.normalisation, config.activation
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
            self.add(f"tower {name}", Tower(links, model.towers, name, config.activation))

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


class ReferenceMmoe(Reference):
    def __init__(self, model: MMoE, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.names = [f"expert.{i}" for i in range(config.num_experts)]
        for name in self.names:
            module = expert(
                self.links, model.level.experts, name, config.normalisation, config.activation
            )
            self.add(name, module)
        for task in self.tasks:
            self.add(
                f"gate {task.name}", Gate(self.links, model.level.gates, f"mmoe.gate.{task.name}")
            )
            tower = Tower(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        outputs = [self.part[name](v) for name in self.names]
        logits = []
        for task in self.tasks:
            weights = F.softmax(self.part[f"gate {task.name}"](v), dim=1)
            logits.append(self.part[f"tower {task.name}"](mixed(weights, outputs)))
        return torch.cat(logits, dim=1)


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
                    self.links, level.experts, name, config.normalisation, config.activation
                )
                self.add(name, module)
            gates = [task.name for task in self.tasks]
            if i < config.num_levels:
                gates.append("shared")
            for name in gates:
                gate = Gate(self.links, level.gates, f"level{i}.gate.{name}")
                self.add(f"level{i} gate {name}", gate)
        for task in self.tasks:
            tower = Tower(self.links, model.towers, task.name, config.activation)
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
                        config.normalisation,
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
            tower = Tower(self.links, model.towers, task.name, config.activation)
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


class ReferenceSingleTask(Reference):
    def __init__(self, model: SingleTask, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        for task in self.tasks:
            module = expert(
                self.links,
                model.experts,
                f"task_specific.{task.name}.0",
                config.normalisation,
                config.activation,
            )
            self.add(f"network {task.name}", module)
            tower = Tower(self.links, model.towers, task.name, config.activation)
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
            self.links, model.bottom, "bottom.0", config.normalisation, config.activation
        )
        for task in self.tasks:
            tower = Tower(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def forward(self, v: Tensor) -> Tensor:
        y = self.bottom(v)
        return torch.cat([self.part[f"tower {task.name}"](y) for task in self.tasks], dim=1)


def reference(model: nn.Module, tasks: Sequence[Task]) -> Reference:
    """The naive form of `model`, which was built for `tasks`."""
    result: Reference
    if isinstance(model, HoME):
        result = ReferenceHome(model, tasks)
    elif isinstance(model, MMoE):
        result = ReferenceMmoe(model, tasks)
    elif isinstance(model, PLE):
        result = ReferencePle(model, tasks)
    elif isinstance(model, AdaTT):
        result = ReferenceAdatt(model, tasks)
    elif isinstance(model, SingleTask):
        result = ReferenceSingleTask(model, tasks)
    else:
        assert isinstance(model, SharedBottom)
        result = ReferenceSharedBottom(model, tasks)
    # Every weight of the batched form must have its counterpart.
    linked = sum(link.parameter.numel() for link in result.links)
    assert linked == sum(parameter.numel() for parameter in model.parameters())
    return result.train(model.training)
