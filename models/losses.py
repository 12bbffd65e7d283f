"""The loss of several binary tasks, outside the model."""

import torch.nn.functional as F
from torch import Tensor


def task_losses(logits_BT: Tensor, labels_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Return each task's weighted binary cross-entropy on logits, [T], in nats.

    A NaN label is missing: it adds nothing, and its gradient is exactly zero. The denominator is
    the batch size B, not the number of known labels, so the mean over ranks with equal batches is
    exactly the loss of the global batch.

    Args:
        weights_BT: weights of the labels, [B, T], or of the rows, [B, 1].
    """
    missing_BT = labels_BT.isnan()
    # Replace before the loss: 0 * NaN is NaN, also in the gradient.
    losses_BT = F.binary_cross_entropy_with_logits(
        logits_BT, labels_BT.masked_fill(missing_BT, 0.0).to(logits_BT.dtype), reduction="none"
    )
    losses_BT = losses_BT.masked_fill(missing_BT, 0.0) * weights_BT
    return losses_BT.sum(0) / logits_BT.shape[0]


def known_shares(labels_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Return the weight of each task's known labels divided by B, [T]; 1 if all are known."""
    return (weights_BT * ~labels_BT.isnan()).sum(0) / labels_BT.shape[0]
