"""Generates ids for a plan without data, with the numbers per sample of its file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchrec import KeyedJaggedTensor

from embeddings.planner.inputs.table_list import ListedTable


def synthetic_ids(
    tables: Sequence[ListedTable], batch_size: int, seed: int, device: torch.device
) -> KeyedJaggedTensor:
    """Return a batch of `batch_size` samples, with one key per feature, in the order of the tables.

    Ids are uniform over the rows. The number of ids of a feature per sample is the pooling factor
    rounded down or up, such that the mean is the pooling factor, times the number of poolings
    (here one longer bag). Ids of weighted tables have weight 1.
    """
    random = torch.Generator().manual_seed(seed)
    rows: dict[str, int] = {}
    for table in tables:
        for feature in table.feature_names:
            rows[feature] = min(table.rows, rows.get(feature, table.rows))
    keys: list[str] = []
    lengths: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    for table in tables:
        for feature, mean in zip(table.feature_names, _means(table), strict=True):
            if feature in keys:  # shared with another table
                continue
            longer = torch.rand(batch_size, generator=random) < mean % 1
            length = int(mean) + longer.to(torch.int32)
            ids = torch.randint(0, rows[feature], (int(length.sum()),), generator=random)
            keys.append(feature)
            lengths.append(length.to(torch.int32))
            values.append(ids)
    every = torch.cat(values)
    return KeyedJaggedTensor.from_lengths_sync(
        keys=keys,
        values=every,
        lengths=torch.cat(lengths),
        weights=torch.ones(len(every)) if tables[0].weighted else None,
    ).to(device)


def _means(table: ListedTable) -> list[float]:
    count = len(table.feature_names)
    pooling, number = (
        list(value) if isinstance(value, tuple) else [value] * count
        for value in (table.pooling_factor, table.num_poolings)
    )
    return [a * b for a, b in zip(pooling, number, strict=True)]
