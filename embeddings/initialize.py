"""Initializes table weights independently of the sharding plan.

TorchRec initializes each shard from its rank's random state, so initial weights depend on the plan.
Here a weight is a pure function of (seed, table, row, column): any shard of any plan on any device
gets the same values as the unsharded table.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

# A counter through SplitMix64 (Steele, Lea, Flood: Fast Splittable PRNGs, OOPSLA 2014).
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_CHUNK = 1 << 20


def _signed(value: int) -> int:
    """Return the int64 with the same bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's shift is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _uniform(counter: Tensor, key: int) -> Tensor:
    """Return a float32 in [0, 1) for every int64 counter; integer overflow is intended."""
    x = counter * _signed(_GAMMA) + key
    x = (x ^ _shift_right(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MIX_2)
    x = x ^ _shift_right(x, 31)
    return _shift_right(x, 40).to(torch.float32) * 2.0**-24


@torch.no_grad()
def fill_shard(
    weight: Tensor,
    *,
    seed: int,
    table: str,
    row_offset: int,
    column_offset: int,
    dim: int,
    scale: float,
) -> None:
    """Fill `weight` [rows, columns], the part of `table` (width `dim`) at these offsets, in place.

    Values are uniform in [-scale, scale).
    """
    rows, columns = weight.shape
    key = int.from_bytes(
        hashlib.blake2b(f"{seed}/{table}".encode(), digest_size=8).digest(), "little", signed=True
    )
    column = torch.arange(column_offset, column_offset + columns, device=weight.device)
    step = max(1, _CHUNK // max(1, columns))
    for start in range(0, rows, step):
        end = min(rows, start + step)
        row = torch.arange(row_offset + start, row_offset + end, device=weight.device)
        values = _uniform(row[:, None] * dim + column[None, :], key)
        weight[start:end] = (values * 2 - 1) * scale
