"""Combines embeddings and tower in one module; the loss stays outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.balancing.task_gradients import Shared
from models.ema import Ema
from models.layers.attention import Attention, offsets_of, segment_sum
from models.tower import auxiliary_loss


class TowerInput(nn.Module):
    """Concatenates pooled embeddings and dense numbers to the tower's input.

    Args:
        keys: features in the order of the tower's input.
        averaged: features with mean pooling; the tables return their sums.
        attention: attention over features with unpooled rows.
    """

    def __init__(
        self, keys: Sequence[str], averaged: Sequence[str] = (), attention: Attention | None = None
    ) -> None:
        super().__init__()
        self.attention = attention
        self._keys = list(keys)
        self._averaged = set(averaged)

    def forward(self, pooled: Any, rows: Any, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Return the tower's input [B, F]. For the arguments see Head.

        Features are selected by key, because a sharded collection returns them in its plan's order.
        """
        lengths_KB = sparse.lengths().view(-1, dense_BN.shape[0])
        lengths_of = dict(zip(sparse.keys(), lengths_KB.unbind(), strict=True))
        by_key: dict[str, Tensor] = {} if pooled is None else dict(pooled.to_dict())
        unpooled: Mapping[str, Tensor] = {}
        if rows is not None:
            unpooled = {key: value.values().to(dense_BN.dtype) for key, value in rows.items()}
            for key, values in unpooled.items():
                by_key[key] = segment_sum(values, offsets_of(lengths_of[key]))
        # An empty bag is zero and remains zero.
        shares_KB = lengths_KB.clamp(min=1).to(dense_BN.dtype).reciprocal()
        share_of = dict(zip(sparse.keys(), shares_KB.unbind(), strict=True))
        columns = []
        for key in self._keys:
            column = by_key[key].to(dense_BN.dtype)
            columns.append(column * share_of[key][:, None] if key in self._averaged else column)
        if self.attention is not None:
            columns.append(self.attention(unpooled, lengths_of, by_key))
        return torch.cat([*columns, dense_BN], dim=1)


class Head(nn.Module):
    """Pooled embeddings and dense numbers to logits.

    A separate module because TorchRec's pipelines trace the code around sharded modules
    symbolically. Code in this module runs as plain Python on real tensors.

    Args:
        tower_input: outputs of the collections -> the tower's input [B, F].
        tower: [B, F] -> [B, T].
        prior: [T], the logit of each task's base rate. Without it, learning the rates of rare tasks
            takes hundreds of steps.
        bf16: compute the tower under bfloat16 autocast.
        keeps_input: whether a training step keeps the tower's input for `shared`.
    """

    prior: Tensor

    def __init__(
        self,
        tower_input: TowerInput,
        tower: nn.Module,
        *,
        prior: Sequence[float],
        bf16: bool = False,
        keeps_input: bool = False,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.tower_input = tower_input
        self.register_buffer("prior", torch.tensor(prior, device="cpu"))
        self._bf16 = bf16
        self._keeps_input = keeps_input
        self._input_BF: Tensor | None = None
        self.ema: Ema | None = None
        """The averaged tower used in evaluation, if there is one."""

    def keep_ema(self, decay: float) -> None:
        """Use a moving average of the tower in evaluation from now on (see `Ema`)."""
        self.ema = Ema(self.tower, decay)

    @property
    def active_tower(self) -> nn.Module:
        """The tower that `forward` uses: in evaluation the EMA, if there is one."""
        if self.training or self.ema is None:
            return self.tower
        ema: nn.Module = self.ema.module
        return ema

    def compile_tower(self) -> None:
        """Compile the trained and the evaluated tower. Call after `keep_ema`."""
        self.tower.compile()
        if self.ema is not None:
            self.ema.module.compile()

    def update_ema(self, skipped: Tensor | None = None) -> None:
        """Update the EMA, if there is one. Call after every training step; `skipped`: see `Ema`."""
        if self.ema is not None:
            self.ema.update_parameters(self.tower, skipped)

    def forward(self, pooled: Any, rows: Any, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Embeddings and dense numbers to float32 logits [B, T].

        Args:
            pooled: KeyedTensor of summed bags, or None.
            rows: by feature, JaggedTensor of unpooled rows, or None.
            sparse: the KeyedJaggedTensor that both came from.
            dense_BN: [B, N].
        """
        v_BF = self.tower_input(pooled, rows, sparse, dense_BN)
        if self._keeps_input and self.training:
            self._input_BF, self._num_pooled = v_BF, v_BF.shape[1] - dense_BN.shape[1]
        return self.logits(v_BF)

    def logits(self, v_BF: Tensor) -> Tensor:
        """Return float32 logits [B, T] for the tower's input."""
        with torch.autocast(v_BF.device.type, torch.bfloat16, enabled=self._bf16):
            logits_BT: Tensor = self.active_tower(v_BF)
        return logits_BT.float() + self.prior

    def auxiliary_loss(self) -> Tensor | None:
        """Return the tower's own loss of the last training step, if it has one."""
        return auxiliary_loss(self.tower)

    def shared(self) -> Shared:
        """Return the tensors that tasks share in the last forward pass. Can be called once."""
        v_BF, self._input_BF = self._input_BF, None
        assert v_BF is not None, "keeps_input is not set, or no training step has run"
        return Shared(v_BF, self._num_pooled, list(self.tower.parameters()))


class Ranker(nn.Module):
    """Maps sparse ids and dense numbers to one logit per task.

    Args:
        inputs: raw ids and numbers -> arguments of `forward`.
        embeddings: KeyedJaggedTensor -> KeyedTensor (an EmbeddingBagCollection, sharded or not).
        rows: KeyedJaggedTensor -> JaggedTensor by feature (an EmbeddingCollection). Either of the
            two may be None if there are no such features.
        head: outputs of both, KeyedJaggedTensor, dense -> logits.
    """

    def __init__(
        self,
        inputs: nn.Module,
        embeddings: nn.Module | None,
        rows: nn.Module | None,
        head: Head,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.embeddings = embeddings
        self.rows = rows
        self.head = head

    def forward(self, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Return logits [B, T] for table rows and normalized numbers from the reader."""
        pooled, rows = self.look_up(sparse)
        logits_BT: Tensor = self.head(pooled, rows, sparse, dense_BN)
        return logits_BT

    def predict(self, sparse: Any, dense_BN: Tensor) -> Tensor:
        """Return logits [B, T] for raw columns: ids as in the data, NaN for missing numbers."""
        logits_BT: Tensor = self(*self.inputs(sparse, dense_BN))
        return logits_BT

    def look_up(self, sparse: Any) -> tuple[Any, Any]:
        """Return the outputs of the two collections, in their order."""
        pooled = None if self.embeddings is None else self.embeddings(sparse)
        rows = None if self.rows is None else self.rows(sparse)
        return pooled, rows
