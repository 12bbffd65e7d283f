"""Random numbers that depend on a seed and a name, and on nothing else."""

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator of its own for each (seed, name).

    The hash is CRC-32, as Python's own differs from process to process.
    """
    return torch.Generator("cpu").manual_seed(zlib.crc32(f"{seed}/{name}".encode()))


@torch.no_grad()
def fill_normal(parameter: Tensor, names: Sequence[str], seed: int, *, gain: float = 1.0) -> None:
    """Fills each slice `parameter[i]` ([.., fan_in]) with normal(0, gain^2 / fan_in).

    Slice i is drawn on the CPU by the generator of `names[i]`: a weight depends neither on
    the device nor on what else the model holds. He et al., arXiv 1502.01852: gain sqrt(2)
    before a rectifier, 1 where nothing follows.
    """
    assert len(names) == parameter.shape[0]
    std = gain / math.sqrt(parameter.shape[-1])
    for slice_, name in zip(parameter, names, strict=True):
        drawn = torch.empty(slice_.shape).normal_(0.0, std, generator=generator(seed, name))
        slice_.copy_(drawn)
