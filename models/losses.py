"""The loss of several binary tasks. It is not part of the model."""

import torch.nn.functional as F
from torch import Tensor


def task_losses(logits_BT: Tensor, labels_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Each task's weighted binary cross-entropy on logits, [T], in nats.

    A label that is NaN is missing: it adds nothing, and its gradient is exactly zero. The
    denominator is B, the size of the batch, not the number of labels that are present: so
    the mean over ranks of equal batches is exactly the loss of the global batch.

    Args:
        weights_BT: of every label, [B, T]; [B, 1] weighs rows.
    """
    missing_BT = labels_BT.isnan()
    # Replace before the loss: 0 * NaN is NaN, in the gradient as well.
    losses_BT = F.binary_cross_entropy_with_logits(
        logits_BT, labels_BT.masked_fill(missing_BT, 0.0).to(logits_BT.dtype), reduction="none"
    )
    losses_BT = losses_BT.masked_fill(missing_BT, 0.0) * weights_BT
    return losses_BT.sum(0) / logits_BT.shape[0]


def known_shares(labels_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Weight of each task's known labels over B, [T]: 1 where all are known and weigh 1."""
    return (weights_BT * ~labels_BT.isnan()).sum(0) / labels_BT.shape[0]
