"""Random numbers that depend only on a seed and a name."""

import math
import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(seed: int, name: str) -> torch.Generator:
    """Return a CPU generator seeded by (seed, name).

    The hash is CRC-32, because Python's `hash` of a string differs between processes.
    """
    return torch.Generator("cpu").manual_seed(zlib.crc32(f"{seed}/{name}".encode()))


_TASK_SPECIFIC = re.compile(r"^((?:feature_gate\.)?(?:level\d+\.)?)task_specific\.")


def draw_key(name: str) -> str:
    """Return the key for drawing the weights of an expert or mask called `name`.

    Keys of task-specific experts use their former name 'own', because another key would draw
    other weights: 'level2.task_specific.click.0' -> 'level2.own.click.0'.
    """
    return _TASK_SPECIFIC.sub(r"\1own.", name)


@torch.no_grad()
def fill_normal(parameter: Tensor, names: Sequence[str], seed: int, *, gain: float = 1.0) -> None:
    """Fill each slice `parameter[i]`, [.., fan_in], with normal(0, gain^2 / fan_in).

    Slice i is drawn on the CPU by the generator of `draw_key(names[i])`, so it depends neither on
    the device nor on the rest of the model. Gain: sqrt(2) before a rectifier (He et al.,
    arXiv 1502.01852), else 1.
    """
    assert len(names) == parameter.shape[0]
    std = gain / math.sqrt(parameter.shape[-1])
    for slice_, name in zip(parameter, names, strict=True):
        drawn = torch.empty(slice_.shape).normal_(
            0.0, std, generator=generator(seed, draw_key(name))
        )
        slice_.copy_(drawn)
