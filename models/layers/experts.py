"""E small networks of the same shape, batched: experts and task towers."""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.config import Activation, ExpertConfig
from models.layers.feature_gates import FeatureGates
from models.layers.indices import indices
from models.layers.linear import StackedLinear
from models.layers.norm import BatchMean, affine, build_norm
from models.probe import Probe
from models.tasks import Task, canonical, positions

RECTIFIER_GAIN = math.sqrt(2.0)
"""He et al., arXiv 1502.01852: compensates for the half that a rectifier zeroes."""


class ExpertLayer(nn.Module):
    """`dropout(activation(norm(Linear(x))))`, one layer of E experts.

    `Experts` calls the Linear, so that it can be computed with what comes before it.
    """

    def __init__(
        self,
        num_experts: int,
        in_features: int,
        out_features: int,
        config: ExpertConfig,
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        self.linear = StackedLinear(num_experts, in_features, out_features)
        self.norm = build_norm(
            config.normalization, num_experts, out_features, config.activation, batch_mean
        )
        self.dropout = config.dropout

    def forward(self, h_EBH: Tensor, following: StackedLinear | None = None) -> Tensor:
        """Output of this layer's Linear -> of the layer [E, B, out], or of the Linear after it."""
        if not self.dropout:
            return self.norm(h_EBH, None if following is None else following.weight)
        # One mask draw for all experts.
        h_EBH = F.dropout(self.norm(h_EBH), self.dropout, self.training)
        return h_EBH if following is None else following(h_EBH)


class Experts(nn.Module):
    """E experts of one or more layers each."""

    def __init__(
        self,
        names: Sequence[str],
        in_features: int,
        config: ExpertConfig,
        batch_mean: BatchMean | None,
    ) -> None:
        super().__init__()
        if in_features < 1:
            raise ValueError(f"num_features: {in_features}; a tower needs at least one feature")
        self.names = tuple(names)
        sizes = (in_features, *config.expert_hidden, config.expert_dim)
        self.layers = nn.ModuleList(
            ExpertLayer(len(names), sizes[i], sizes[i + 1], config, batch_mean)
            for i in range(len(sizes) - 1)
        )

    def forward(self, x: Tensor, gates: FeatureGates | None = None) -> Tensor:
        """[B, in] or [E, B, in] -> [E, B, D]; `gates` mask each expert's input."""
        layers = [layer for layer in self.layers if isinstance(layer, ExpertLayer)]
        first = layers[0].linear
        h_EBH = first(x) if gates is None else gates.linear(x, first.weight)
        for layer, following in itertools.pairwise(layers):
            h_EBH = layer(h_EBH, following.linear)
        return layers[-1](h_EBH)

    def fill_probe(self, probe: Probe, output: Tensor) -> None:
        """Split outputs [E, B, D] by expert."""
        probe.experts |= dict(zip(self.names, output.detach().unbind(0), strict=True))

    def init_weights(self, seed: int) -> None:
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, ExpertLayer)
            names = [f"{name}/{i}" for name in self.names]
            layer.linear.init_weights(names, seed, gain=RECTIFIER_GAIN)
            layer.norm.init_weights()


class Networks(nn.Module):
    """E networks of Linears, with an activation after each but the last. No normalization."""

    def __init__(self, names: Sequence[str], sizes: Sequence[int], activation: Activation) -> None:
        super().__init__()
        self.names = tuple(names)
        self.activation: Activation = activation
        pairs = list(itertools.pairwise(sizes))
        self.linears = nn.ModuleList(StackedLinear(len(names), *pair) for pair in pairs)
        self.biases = nn.ParameterList(torch.empty(len(names), 1, out) for _, out in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """[E, B, in], or [B, in] for all -> [E, B, out]."""
        first, *following = self.linears
        *biases, last_bias = self.biases
        h: Tensor = first(x)
        for bias, linear in zip(biases, following, strict=True):
            assert isinstance(linear, StackedLinear)
            h = affine(h, None, bias[:, 0], self.activation, linear.weight)
        return h + last_bias

    @torch.no_grad()
    def init_weights(self, seed: int, prefix: str = "") -> None:
        for i, linear in enumerate(self.linears):
            assert isinstance(linear, StackedLinear)
            names = [f"{prefix}{name}/{i}" for name in self.names]
            is_last = i == len(self.linears) - 1
            linear.init_weights(names, seed, gain=1.0 if is_last else RECTIFIER_GAIN)
        for bias in self.biases:
            bias.zero_()


class TaskTowers(Networks):
    """One small network per task, from the mixed experts to the logit."""

    def __init__(self, tasks: Sequence[Task], config: ExpertConfig) -> None:
        names = [task.name for task in canonical(tasks)]
        sizes = (config.expert_dim, *config.tower_hidden, 1)
        super().__init__(names, sizes, config.activation)
        self.order = positions(tasks)

    def forward(self, y: Tensor) -> Tensor:
        """[T, B, D] in canonical order, or [B, D] for all -> logits [B, T] in order of `tasks`."""
        logits_TB = super().forward(y).squeeze(2)
        return logits_TB.index_select(0, indices(self.order, y.device)).t()

    def init_weights(self, seed: int, prefix: str = "tower.") -> None:
        super().init_weights(seed, prefix)
