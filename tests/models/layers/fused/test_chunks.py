"""Chunks of rows."""

import torch

from models.layers.fused.chunks import chunks


def test_chunks_cover_every_row_once() -> None:
    for num_rows in (1, 32, 5000):
        x = torch.arange(num_rows)[:, None]
        parts = [x[rows] for rows in chunks(1 << 12, x)]
        assert torch.equal(torch.cat(parts), x)
