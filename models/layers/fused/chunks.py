"""Chunks of rows whose intermediate results stay in cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_BYTES = 4 << 20
"""Size of one intermediate result of a chunk: several of them fit the last-level cache of a CPU."""


def is_wanted() -> bool:
    """Whether to use the functions of this package: not while compiling or exporting.

    torch.compile fuses the plain implementations in models/layers/, which tests compare with these.
    """
    return not torch.compiler.is_compiling()


def chunks(per_row: int, like: Tensor) -> Iterator[slice]:
    """Split the rows of `like` [.., B, ..] into slices, for `per_row` intermediate values each."""
    num_rows = like.shape[-2]
    # On GPUs few large kernels are faster than cache-sized chunks.
    step = num_rows if like.is_cuda else max(32, CHUNK_BYTES // (per_row * like.element_size()))
    return (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))
