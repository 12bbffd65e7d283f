"""Weights positives and drops negatives while keeping the model's logits calibrated."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.balancing.draws import Draws
from models.balancing.global_batch import GlobalBatch


class LabelWeights(nn.Module):
    """Weights each positive of task t by w_t and keeps each negative with probability r_t.

    This changes the frequency of positives from p to w p and that of negatives from 1 - p to
    r (1 - p): the odds are w / r times the true ones, and their logit is
    logit(p) + log(w) - log(r). Therefore the loss uses the model's logits + `shift_T`, with

        shift_t = log(w_t) - log(r_t),

    and is minimal if the model's logits are logit(p): they stay calibrated and need no correction.
    (He et al., ADKDD 2014, doi 10.1145/2648584.2648589, correct predictions for r afterwards; this
    is the same map, applied during training.)

    The draw is a function of seed, step and the row's position in the global batch: equal on any
    number of ranks and after a resume. Each epoch draws other negatives.

    Args:
        positive: [T], w_t > 0.
        keep: [T], r_t in (0, 1].
    """

    positive_T: Tensor
    keep_T: Tensor
    shift_T: Tensor

    def __init__(
        self, positive: Sequence[float], keep: Sequence[float], seed: int, batch: GlobalBatch
    ) -> None:
        super().__init__()
        pairs = zip(positive, keep, strict=True)
        shift = [math.log(w) - math.log(r) for w, r in pairs]
        for name, values in (("positive_T", positive), ("keep_T", keep), ("shift_T", shift)):
            self.register_buffer(name, torch.tensor(values, device="cpu"), persistent=False)
        self._batch = batch
        self._draws = Draws(seed, "negatives") if min(keep) < 1 else None

    def forward(self, labels_BT: Tensor, row_weights_B: Tensor) -> Tensor:
        """Return the weight of every label, [B, T], 0 for dropped negatives. Each call redraws."""
        negative_BT = torch.ones_like(labels_BT)
        if self._draws is not None:
            drawn = self._draws.uniform(self._batch.parts, *labels_BT.shape)[self._batch.part]
            negative_BT = (drawn.to(labels_BT.device) < self.keep_T).to(labels_BT.dtype)
        weights_BT = torch.where(labels_BT > 0.5, self.positive_T.to(labels_BT.dtype), negative_BT)
        return weights_BT * row_weights_B[:, None]
