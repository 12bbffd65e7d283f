"""RankMixer, one module per token, one head and task at a time."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.experts import Networks
from models.tasks import Task, canonical
from models.towers.rankmixer import MixerLayer, RankMixer
from tests.models.reference.parts import Links, Network, Reference, take


class Norm(nn.Module):
    def __init__(self, links: Links, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(norm, nn.LayerNorm)
        self.weight = take(links, norm.weight, slice(None))
        self.bias = take(links, norm.bias, slice(None))

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(1, keepdim=True)
        variance = centered.square().mean(1, keepdim=True)
        return centered / (variance + 1e-5).sqrt() * self.weight + self.bias


class ReferenceRankMixer(Reference):
    def __init__(self, model: RankMixer, tasks: Sequence[Task]) -> None:
        config = model.config
        super().__init__(tasks)
        self.config = config
        self._add_networks("token", model.tokens)
        for i, layer in enumerate(model.layers):
            assert isinstance(layer, MixerLayer)
            self._add_networks(f"layer {i} network", layer.networks)
            for half, norm in zip(("mixing", "network"), layer.norms, strict=True):
                self.add(f"layer {i} norm after {half}", Norm(self.links, norm))
        names = [task.name for task in canonical(tasks)]
        self.queries = nn.ParameterList(
            take(self.links, model.queries, names.index(task.name)) for task in tasks
        )
        for task in tasks:
            tower = Network(self.links, model.towers, task.name, config.activation)
            self.add(f"tower {task.name}", tower)

    def _add_networks(self, prefix: str, networks: Networks) -> None:
        for n, name in enumerate(networks.names):
            network = Network(self.links, networks, name, self.config.activation)
            self.add(f"{prefix} {n}", network)

    def forward(self, v: Tensor) -> Tensor:
        config, part = self.config, self.part
        tokens = range(config.num_tokens)
        width = -(-v.shape[1] // config.num_tokens)
        v = torch.cat([v, v.new_zeros(len(v), config.num_tokens * width - v.shape[1])], dim=1)
        x = [part[f"token {n}"](v[:, n * width : (n + 1) * width]) for n in tokens]
        head = config.expert_dim // config.num_tokens
        for i in range(config.num_layers):
            mixed = [torch.cat([y[:, h * head : (h + 1) * head] for y in x], 1) for h in tokens]
            s = [part[f"layer {i} norm after mixing"](mixed[n] + x[n]) for n in tokens]
            x = [
                part[f"layer {i} norm after network"](part[f"layer {i} network {n}"](s[n]) + s[n])
                for n in tokens
            ]
        logits = []
        for task, query in zip(self.tasks, self.queries, strict=True):
            scores = torch.stack([(y * query).sum(1) / config.expert_dim**0.5 for y in x], 1)
            weights = F.softmax(scores, dim=1)
            y = sum(weights[:, n : n + 1] * x[n] for n in tokens)
            logits.append(part[f"tower {task.name}"](y))
        return torch.cat(logits, dim=1)
