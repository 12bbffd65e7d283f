"""The loss of several binary tasks. It sits outside the model that is exported."""

import torch
import torch.nn.functional as F
from torch import Tensor


def multi_task_loss(
    logits_BT: Tensor, labels_BT: Tensor, row_weights_B: Tensor, task_weights_T: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sum over tasks of binary cross-entropy on logits, and each task's share.

    A label that is NaN is missing: it adds nothing, and its gradient is exactly zero. The
    denominator is B, the size of the batch, not the number of labels that are present: so
    the mean over ranks of equal batches is exactly the loss of the global batch.

    Returns:
        total: scalar, `task_weights_T @ per_task_T`.
        per_task_T: [T], unweighted by task, detached (for logs).
    """
    missing_BT = labels_BT.isnan()
    # Replace before the loss: 0 * NaN is NaN, in the gradient as well.
    losses_BT = F.binary_cross_entropy_with_logits(
        logits_BT, labels_BT.masked_fill(missing_BT, 0.0).to(logits_BT.dtype), reduction="none"
    )
    losses_BT = losses_BT.masked_fill(missing_BT, 0.0) * row_weights_B[:, None]
    per_task_T = losses_BT.sum(0) / logits_BT.shape[0]
    total = torch.dot(per_task_T, task_weights_T.to(per_task_T.dtype))
    return total, per_task_T.detach()
