"""Softmax over few values."""

from torch import Tensor

from models.layers.fused import chunks


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dimension, with dense rows.

    On CPU torch takes 7 to 18 times as long over a short last dimension as over the first one.
    """
    if x.shape[-1] == 1 or not (x.is_cpu and chunks.is_wanted()):
        return x.softmax(-1)
    return x.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1).contiguous()
