"""The same model in one process: plain torch, no sharding, no kernel, each update written out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

from embeddings.initialize import fill_shard
from pipeline.config.tree import Config
from pipeline.ranks.world import World
from pipeline.training.build import build_step
from pipeline.training.resolve_features import resolve_features
from tests.integration.sharding.every_plan import SCHEMA, batch


def over_blocks(values_RD: Tensor, width: int) -> Tensor:
    """[R, D]: the mean of each row's block of `width` columns, in each of its columns."""
    rows, dim = values_RD.shape
    blocks = values_RD.view(rows, dim // width, width)
    return blocks.mean(2, keepdim=True).repeat(1, 1, width).view(rows, dim)


class OneProcess:
    """Trains from the first step on. Its accumulators are [R, D], equal over a block's columns."""

    def __init__(self, config: Config, world: World, widths: Mapping[str, int]) -> None:
        """`widths`: columns that share an accumulator, by table."""
        self._config, self._world, self._widths = config, world, dict(widths)
        self._chosen = resolve_features(config, SCHEMA)
        self._step = build_step(config, self._chosen, world)
        head = self._step.model.head
        assert head.tower_input.attention is not None
        for module in (head.tower, head.tower_input.attention):
            module.to_empty(device="cpu")
            module.init_weights(config.train.seed)  # type: ignore[operator]
        self.weights: dict[str, Tensor] = {}
        for module in list(self._step.modules()):
            if isinstance(module, (EmbeddingBagCollection, EmbeddingCollection)):
                module.to_empty(device="cpu")
                found = {name.split(".")[-2]: p for name, p in module.named_parameters()}
                self.weights.update(found)
        for table in self._chosen.tables:
            fill_shard(
                self.weights[table.name].detach(),
                seed=config.train.seed,
                table=table.name,
                row_offset=0,
                column_offset=0,
                dim=table.dim,
                scale=config.embeddings.init_scale,
            )
        self.sums = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        of_table = {id(weight) for weight in self.weights.values()}
        self._tower = [p for p in self._step.parameters() if id(p) not in of_table]
        dense = config.dense
        self._adam = torch.optim.AdamW(
            self._tower,
            lr=dense.lr,
            betas=dense.betas,
            eps=dense.eps,
            weight_decay=dense.weight_decay,
        )
        self._step.train()

    def tower(self) -> dict[str, Tensor]:
        """All parameters but the tables', by name."""
        mine = {id(p) for p in self._tower}
        return {name: p for name, p in self._step.named_parameters() if id(p) in mine}

    def cut(self, widths: Mapping[str, int]) -> None:
        """From here on these columns share an accumulator: the mean of those they had."""
        self._widths = dict(widths)
        self.sums = {name: over_blocks(sums, widths[name]) for name, sums in self.sums.items()}

    def steps(self, first: int, count: int) -> Tensor:
        """[count, T] losses of the global batches."""
        return torch.stack([self._one(step) for step in range(first, first + count)])

    def _one(self, step: int) -> Tensor:
        self._adam.zero_grad()
        for weight in self.weights.values():
            weight.grad = None
        loss, output = self._step(batch(step, self._world, self._chosen))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._tower, self._config.dense.clip_norm)
        self._adam.step()
        with torch.no_grad():
            for name, weight in self.weights.items():
                assert weight.grad is not None
                self.sums[name] += over_blocks(weight.grad**2, self._widths[name])
                root = self.sums[name].sqrt() + self._config.sparse.eps
                weight -= self._config.sparse.lr * weight.grad / root
        losses: Tensor = output.losses_T
        return losses
