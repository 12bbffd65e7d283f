"""One level of a tower: groups of experts, and gates that mix them into outputs."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers.config import ExpertConfig
from models.layers.experts import Experts
from models.layers.feature_gates import FeatureGates
from models.layers.fused.mixture import mix
from models.layers.gates import Gate, Gates, NativeWeights
from models.layers.norm import BatchMean
from models.layers.softmax import softmax
from models.probe import Probe, Weights


class Group(NamedTuple):
    """Experts that share a name and an input."""

    name: str
    size: int
    source: int = 0
    """Index of their input among the level's inputs."""


class Mixture(NamedTuple):
    """One output: a gate's mixture of the experts of some groups."""

    name: str
    inputs: Sequence[int]
    """Indices of the gate's inputs, which are concatenated."""
    groups: Sequence[int]
    """Indices of the groups of its experts."""
    self_group: int
    """Index of the group added by a self-gate or native weights, if the level has them."""


class Masks(NamedTuple):
    """Configuration of a level's feature-gates."""

    num_masks: int
    rank: int
    per_group: bool
    """Whether the experts of a group share a feature-gate."""


class Mixed(NamedTuple):
    """Result of a level: M mixtures of E experts, and their weights."""

    outputs_BMD: Tensor
    gates_BME: Tensor
    self_gates_BME: Tensor | None
    """Weights of self-gates or native weights, added to `gates_BME`."""


class Level(nn.Module):
    """Mixes `groups` of experts, which read N inputs, into M outputs given by `mixtures`."""

    def __init__(
        self,
        name: str,
        num_inputs: int,
        in_features: int,
        groups: Sequence[Group],
        mixtures: Sequence[Mixture],
        config: ExpertConfig,
        batch_mean: BatchMean | None,
        *,
        self_gates: bool = False,
        native_weights: bool = False,
        masks: Masks | None = None,
        meta_prefix: str | None = None,
    ) -> None:
        """
        Args:
            meta_prefix: prefix of gate names in a Probe's `meta_gates`; None for the last level,
                whose gates belong to tasks.
        """
        super().__init__()
        self.meta_prefix = meta_prefix
        assert not (self_gates and native_weights)
        self.groups, self.mixtures = tuple(groups), tuple(mixtures)
        self.self_gates = self_gates
        ends = list(itertools.accumulate(group.size for group in groups))
        self.members = [range(*ends_) for ends_ in itertools.pairwise([0, *ends])]
        expert_names = [f"{group.name}.{i}" for group in groups for i in range(group.size)]
        self.experts = Experts(expert_names, in_features, config, batch_mean)

        self.masks_per_group = masks is not None and masks.per_group
        self.feature_gates = None
        if masks is not None:
            masked = [group.name for group in groups] if masks.per_group else expert_names
            self.feature_gates = FeatureGates(masked, in_features, masks.num_masks, masks.rank)

        def self_gates_named(kind: str) -> list[Gate]:
            return [
                Gate(
                    f"{name}.{kind}.{m.name}",
                    [groups[m.self_group].source],
                    self.members[m.self_group],
                )
                for m in mixtures
            ]

        gates = [Gate(f"{name}.gate.{m.name}", m.inputs, self.experts_of(m)) for m in mixtures]
        gates += self_gates_named("self_gate") if self_gates else []
        self.gates = Gates(gates, in_features, num_inputs, len(expert_names))
        self.native_weights = None
        if native_weights:
            self.native_weights = NativeWeights(self_gates_named("native"), len(expert_names))

    def experts_of(self, mixture: Mixture) -> list[int]:
        """Return the indices of the experts of a mixture's gate."""
        return [e for group in mixture.groups for e in self.members[group]]

    def forward(self, x_BNF: Tensor) -> Mixed:
        """Inputs [B, N, F] -> outputs [B, M, D]."""
        experts_EBD = self._run_experts(x_BNF)
        logits_BGE = self.gates(x_BNF)
        weights_BME = gates_BME = softmax(logits_BGE[:, : len(self.mixtures)])
        self_gates_BME = None
        if self.self_gates:
            # Softmax over a single expert would always be 1.
            alone = all(len(self.members[m.self_group]) == 1 for m in self.mixtures)
            logits_BME = logits_BGE[:, len(self.mixtures) :]
            self_gates_BME = logits_BME.sigmoid() if alone else softmax(logits_BME)
        if self.native_weights is not None:
            self_gates_BME = self.native_weights(gates_BME).expand_as(gates_BME)
        if self_gates_BME is not None:
            # Both weight the same experts: mix once with the summed weights.
            weights_BME = gates_BME + self_gates_BME
        return Mixed(mix(weights_BME, experts_EBD), gates_BME, self_gates_BME)

    def _run_experts(self, x_BNF: Tensor) -> Tensor:
        """Return the outputs of all experts, [E, B, D]."""
        gates = self.feature_gates
        if gates is not None and self.masks_per_group:
            masked_GBF = gates(self._repeat(x_BNF, [(g.source, 1) for g in self.groups]))
            sizes = [(i, group.size) for i, group in enumerate(self.groups)]
            return self.experts(self._repeat(masked_GBF.transpose(0, 1), sizes))
        return self.experts(self._repeat(x_BNF, [(g.source, g.size) for g in self.groups]), gates)

    @staticmethod
    def _repeat(x_BNF: Tensor, times: Sequence[tuple[int, int]]) -> Tensor:
        """Repeat input i n times for each (i, n), [.., B, F]; a single input stays [B, F]."""
        inputs = x_BNF.unbind(1)
        if len(inputs) == 1:
            return inputs[0]
        # Groups of one input are neighbours: no call for each of them.
        runs = [
            (i, sum(n for _, n in run))
            for i, run in itertools.groupby(times, key=lambda each: each[0])
        ]
        return torch.cat([inputs[i].expand(n, *inputs[i].shape) for i, n in runs])

    def fill_probe(self, probe: Probe, output: Mixed) -> None:
        """Add its gates to the probe, by task or group. Experts add themselves."""
        gates = self._by_name(output.gates_BME, [self.experts_of(m) for m in self.mixtures])
        self_gates: Weights = {}
        if output.self_gates_BME is not None:
            members = [self.members[m.self_group] for m in self.mixtures]
            self_gates = self._by_name(output.self_gates_BME, members)
        if self.meta_prefix is None:
            probe.gates, probe.self_gates = gates, self_gates
        else:
            probe.meta_gates |= gates
            probe.meta_self_gates |= self_gates

    def _by_name(self, weights_BME: Tensor, visible: Sequence[Sequence[int]]) -> Weights:
        """Gate -> expert -> weight [B]."""
        names, prefix = self.experts.names, self.meta_prefix or ""
        weights_BME = weights_BME.detach()
        return {
            f"{prefix}{mixture.name}": {names[e]: weights_BME[:, i, e] for e in visible[i]}
            for i, mixture in enumerate(self.mixtures)
        }

    def init_weights(self, seed: int) -> None:
        self.experts.init_weights(seed)
        if self.feature_gates is not None:
            self.feature_gates.init_weights(seed)
        self.gates.init_weights(seed)
        if self.native_weights is not None:
            self.native_weights.init_weights(seed)
