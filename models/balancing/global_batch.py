"""Position of this process's rows in the global batch, set by the caller: models/ has no ranks."""

from typing import NamedTuple

from torch import Tensor

from models.layers.norm import BatchMean


def _alone(x: Tensor) -> Tensor:
    return x


class GlobalBatch(NamedTuple):
    """Part `part` of a global batch of `parts` equal, consecutive parts.

    The defaults are for a single process.
    """

    part: int = 0
    parts: int = 1
    mean: BatchMean = _alone
