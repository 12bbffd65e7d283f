"""Many small networks of one shape as few large ones: E experts are one batched matmul."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from models.initialise import fill_normal
from models.norm import BatchMean, Normalisation, build_norm

Activation = Literal["swish", "relu"]


class ExpertSizes(BaseModel):
    """The fields that all towers share: the shape of experts and of task towers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    expert_hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of an expert's hidden layers."""
    expert_dim: int = Field(128, ge=1)
    """Width of an expert's output, D."""
    tower_hidden: tuple[PositiveInt, ...] = (64,)
    """Widths of the hidden layers between what a task mixed and its logit."""


class StackedLinear(nn.Module):
    """E Linear layers of one shape, weight [E, out, in]."""

    def __init__(self, num: int, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(num, out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] (the same rows for all) or [E, B, in] -> [E, B, out]."""
        num, out_features, _ = self.weight.shape
        if x.dim() == 2:
            bias = None if self.bias is None else self.bias.flatten()
            y = F.linear(x, self.weight.flatten(0, 1), bias)
            return y.view(len(x), num, out_features).transpose(0, 1)
        if self.bias is None:
            return torch.bmm(x, self.weight.transpose(1, 2))
        return torch.baddbmm(self.bias[:, None], x, self.weight.transpose(1, 2))

    @torch.no_grad()
    def init_weights(self, names: Sequence[str], seed: int, *, gain: float = 1.0) -> None:
        fill_normal(self.weight, names, seed, gain=gain)
        if self.bias is not None:
            self.bias.zero_()


class Experts(nn.Module):
    """E experts `activation(norm(Linear(x)))`, one or more such layers each."""

    def __init__(
        self,
        names: Sequence[str],
        in_features: int,
        widths: Sequence[int],
        *,
        normalisation: Normalisation,
        activation: Activation,
        batch_mean: BatchMean | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.activation = F.silu if activation == "swish" else F.relu
        sizes = (in_features, *widths)
        self.linears = nn.ModuleList(
            StackedLinear(len(names), sizes[i], sizes[i + 1], bias=False)
            for i in range(len(widths))
        )
        self.norms = nn.ModuleList(
            build_norm(normalisation, len(names), width, batch_mean) for width in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] or [E, B, in] -> [E, B, D]."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = self.activation(norm(linear(x)))
        return x

    def init_weights(self, seed: int) -> None:
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms, strict=True)):
            names = [f"{name}/{i}" for name in self.names]
            linear.init_weights(names, seed, gain=math.sqrt(2))  # type: ignore[operator]
            norm.init_weights()  # type: ignore[operator]


class TaskTowers(nn.Module):
    """One small network per task: what its gate mixed -> its logit. No normalisation."""

    def __init__(
        self, names: Sequence[str], dim: int, hidden: Sequence[int], activation: Activation
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.activation = F.silu if activation == "swish" else F.relu
        sizes = (dim, *hidden, 1)
        self.linears = nn.ModuleList(
            StackedLinear(len(names), sizes[i], sizes[i + 1], bias=True)
            for i in range(len(sizes) - 1)
        )

    def forward(self, y_TBD: Tensor) -> Tensor:
        """[T, B, D] -> logits [T, B]."""
        *hidden, last = self.linears
        for linear in hidden:
            y_TBD = self.activation(linear(y_TBD))
        return last(y_TBD).squeeze(2)

    def init_weights(self, seed: int) -> None:
        last = len(self.linears) - 1
        for i, linear in enumerate(self.linears):
            names = [f"tower.{name}/{i}" for name in self.names]
            gain = 1.0 if i == last else math.sqrt(2)
            linear.init_weights(names, seed, gain=gain)  # type: ignore[operator]
