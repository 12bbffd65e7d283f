"""Gates that compute the weights of experts."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.indices import indices
from models.layers.initialize import fill_normal


class Gate(NamedTuple):
    """`Linear(concat(inputs))` -> one logit per expert."""

    name: str
    inputs: Sequence[int]
    """Indices of the gate's inputs."""
    experts: Sequence[int]
    """Indices of the experts that it weights."""


class Gates(nn.Module):
    """Gates over E experts, on N inputs of `dim` features each, computed in one matmul.

    Only existing connections have weights. Inputs that a gate does not read have zero weights.
    Experts that it does not weight get the logit -inf, so softmax and sigmoid give them a weight of
    exactly zero and no gradient.
    """

    def __init__(self, gates: Sequence[Gate], dim: int, num_inputs: int, num_experts: int) -> None:
        super().__init__()
        self.gates = tuple(gates)
        self.num_inputs = num_inputs
        self.num_experts = num_experts
        logits = [(g, e) for g, gate in enumerate(gates) for e in gate.experts]
        self.weight_cells = tuple(
            row * num_inputs + i for row, (g, _) in enumerate(logits) for i in gates[g].inputs
        )
        self.logit_cells = tuple(g * num_experts + e for g, e in logits)
        # Rows are ordered by gate, expert and input, like the cells.
        self.weight = nn.Parameter(torch.empty(len(self.weight_cells), dim))
        self.bias = nn.Parameter(torch.empty(len(self.logit_cells)))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Inputs [B, N, dim] -> logits [B, G, E]."""
        num_logits, dim = len(self.logit_cells), self.weight.shape[1]
        cells = indices(self.weight_cells, x_BND.device)
        weight = self.weight.new_zeros(num_logits * self.num_inputs, dim)
        weight = weight.index_copy(0, cells, self.weight).view(num_logits, -1)
        logits = F.linear(x_BND.flatten(1), weight, self.bias)

        cells = indices(self.logit_cells, x_BND.device)
        all_pairs = (x_BND.shape[0], len(self.gates) * self.num_experts)
        placed = logits.new_full(all_pairs, -math.inf).index_copy(1, cells, logits)
        return placed.view(-1, len(self.gates), self.num_experts)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        start = 0
        for gate in self.gates:
            num_rows = len(gate.experts) * len(gate.inputs)
            rows = self.weight[start : start + num_rows].view(1, len(gate.experts), -1)
            fill_normal(rows, [gate.name], seed)
            start += num_rows
        self.bias.zero_()


class NativeWeights(nn.Module):
    """Learned weights [G, E] of each gate's experts that do not depend on the input.

    A gate with a single expert has the weight 1: a residual connection without a parameter. The
    inputs of a gate are ignored.
    """

    weight: nn.Parameter | None

    def __init__(self, gates: Sequence[Gate], num_experts: int) -> None:
        super().__init__()
        self.shape = (len(gates), num_experts)
        self.learned = tuple(gate for gate in gates if len(gate.experts) > 1)
        cells = [(g * num_experts + e, gate) for g, gate in enumerate(gates) for e in gate.experts]
        self.cells = tuple(cell for cell, gate in cells if len(gate.experts) > 1)
        self.residual_cells = tuple(cell for cell, gate in cells if len(gate.experts) == 1)
        # An empty parameter would get no gradient, so create none.
        weight = nn.Parameter(torch.empty(len(self.cells))) if self.cells else None
        self.register_parameter("weight", weight)

    def forward(self, like: Tensor) -> Tensor:
        """Return the weights [G, E] on the device of `like`; zero for experts of other gates."""
        num_gates, num_experts = self.shape
        weights = like.new_zeros(num_gates * num_experts)
        if self.residual_cells:
            residual = indices(self.residual_cells, like.device)
            weights = weights.index_fill(0, residual, 1.0)
        if self.weight is not None:
            cells = indices(self.cells, like.device)
            weights = weights.to(self.weight.dtype).index_copy(0, cells, self.weight)
        return weights.view(num_gates, num_experts)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        if self.weight is None:
            return
        rows = self.weight.split_with_sizes([len(gate.experts) for gate in self.learned])
        for gate, row in zip(self.learned, rows, strict=True):
            # The variance of uniform(-1/sqrt(n), 1/sqrt(n)), as in the authors' repository.
            fill_normal(row[None], [gate.name], seed, gain=1 / math.sqrt(3))
