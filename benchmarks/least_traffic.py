"""The fewest bytes that ranks must send each other for a step, from the plan and the batch alone.

A table is cut into shards; over R, the ranks that have rows of the same columns, a sample's pooled
row is summed. With W ranks, a sample on rank a, D columns and 4 bytes a number:

    ids         4 an id (8 for int64) to each rank that has its row, but a; and 4 a bag's length to
                each of R but a
    embeddings  4 D from each of R but a
    gradients   4 D to each of R but a
    replicated  2 (W - 1) W n for a step, of n bytes of gradient on each rank

R is one rank for whole tables and columns; over all ranks the second line is a reduce-scatter, the
third an all-gather. Rows of unpooled tables cross one by one: 4 D an id in place of 4 D a bag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor

LENGTH_BYTES, VALUE_BYTES = 4, 4


def least_traffic(
    plan: Mapping[str, Any],
    sparse: KeyedJaggedTensor,
    rank: int,
    *,
    unpooled: Sequence[str] = (),
    forward_bytes: int = VALUE_BYTES,
    backward_bytes: int = VALUE_BYTES,
) -> dict[str, int]:
    """Bytes that cross between ranks for the samples of `rank`, by purpose as in traffic.py.

    Args:
        plan: as plan_to_json gives it.
        sparse: the samples' ids.
        unpooled: tables looked up row by row.
        forward_bytes, backward_bytes: of a number on its way to the samples, and back.
    """
    found = {"ids": 0, "embeddings": 0, "gradients": 0}
    for table in plan["tables"]:
        shards = table["shards"]
        if not shards:  # replicated: nothing of single samples crosses
            continue
        columns: dict[int, list[Mapping[str, Any]]] = {}
        for shard in shards:
            if shard["size"][0]:
                columns.setdefault(shard["offset"][1], []).append(shard)
        others = {shard["rank"] for block in columns.values() for shard in block} - {rank}
        for feature in table["features"]:
            ids, lengths = sparse[feature].values(), sparse[feature].lengths()
            found["ids"] += len(lengths) * LENGTH_BYTES * len(others)
            found["ids"] += ids.element_size() * sum(
                int(_on(ids, shards, other).sum()) for other in sorted(others)
            )
            for block in columns.values():
                width = block[0]["size"][1]
                away = {shard["rank"] for shard in block} - {rank}
                if table["table"] in unpooled:
                    rows = sum(int(_on(ids, block, other).sum()) for other in sorted(away))
                else:
                    rows = len(lengths) * len(away)
                found["embeddings"] += rows * width * forward_bytes
                found["gradients"] += rows * width * backward_bytes
    return found


def least_reduced(gradient_bytes: int, ranks: int) -> int:
    """Of all ranks together, for gradients of `gradient_bytes` on each, summed over all."""
    return 2 * (ranks - 1) * gradient_bytes


def _on(ids: Tensor, shards: Sequence[Mapping[str, Any]], rank: int) -> Tensor:
    """bool [ids]: whether `rank` has the id's row, or columns of it."""
    there = torch.zeros(len(ids), dtype=torch.bool)
    for shard in shards:
        if shard["rank"] == rank:
            first, rows = shard["offset"][0], shard["size"][0]
            there |= (first <= ids) & (ids < first + rows)
    return there
