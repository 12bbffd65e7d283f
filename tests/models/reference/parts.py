"""Experts, gates, masks and task towers, one module each.

Each takes copies of the weights of a batched tower; `links` tells which slice of the batched tower
each weight was copied from, so that gradients can be compared as well. The wiring is derived anew
from configuration and tasks.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.config import Normalization
from models.layers.experts import ExpertLayer, Experts, Networks
from models.layers.feature_gates import FeatureGates
from models.layers.gates import Gates
from models.layers.linear import StackedLinear
from models.layers.norm import EPS, MOMENTUM, BatchNorm, LayerNorm, Shift
from models.tasks import Task


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


def gradient(parameter: nn.Parameter) -> Tensor:
    """Zero for a part that no row ran."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


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
        normalization: Normalization,
        activation: str,
    ) -> None:
        super().__init__()
        assert isinstance(norm, BatchNorm | LayerNorm | Shift)
        out_features, in_features = weight.shape[1:]
        self.activation = activation
        self.linear = nn.Linear(in_features, out_features, bias=normalization == "none")
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
    links: Links, experts: Experts, name: str, normalization: Normalization, activation: str
) -> nn.Sequential:
    e = experts.names.index(name)
    layers = [layer for layer in experts.layers if isinstance(layer, ExpertLayer)]
    return nn.Sequential(
        *(
            Layer(links, layer.linear.weight, layer.norm, e, normalization, activation)
            for layer in layers
        )
    )


class Network(nn.Module):
    """One of several networks of Linears, such as a task's tower."""

    def __init__(self, links: Links, networks: Networks, name: str, activation: str) -> None:
        super().__init__()
        e = networks.names.index(name)
        self.activation = activation
        self.layers = nn.ModuleList()
        for stacked, bias in zip(networks.linears, networks.biases, strict=True):
            assert isinstance(stacked, StackedLinear)
            layer = nn.Linear(stacked.weight.shape[2], stacked.weight.shape[1])
            layer.weight = take(links, stacked.weight, e)
            layer.bias = take(links, bias, (e, 0))
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
