"""The model's own input layer makes of raw columns what the reader makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchrec import KeyedJaggedTensor

from embeddings.input_layer import IdRange, InputLayer
from pipeline.data.columns import input_layer
from tests.pipeline.data.small_folder import (
    DENSE,
    FEATURES,
    HASH_ROWS,
    open_small,
    random_rows,
    write_folder,
)


@pytest.mark.parametrize("seed", [0, 1])
def test_raw_columns_become_what_the_reader_gives(seed: int, tmp_path: Path) -> None:
    rows = random_rows(40, seed)
    schema = write_folder(tmp_path, rows, files=2, row_group_size=7)
    (batch,) = open_small(tmp_path, batch_size=40)
    bags = [
        [(row[f.name] or []) if f.multi else [row[f.name] or 0] for row in rows] for f in FEATURES
    ]
    raw = KeyedJaggedTensor(
        keys=[feature.name for feature in FEATURES],
        values=torch.tensor([i or 0 for feature in bags for bag in feature for i in bag]),
        lengths=torch.tensor([len(bag) for feature in bags for bag in feature]),
    )
    numbers = [[torch.nan if row[d.name] is None else row[d.name] for d in DENSE] for row in rows]
    sparse, dense = input_layer(schema, FEATURES, HASH_ROWS)(
        raw, torch.tensor(numbers, dtype=torch.float32)
    )
    assert sparse.keys() == batch.sparse.keys()
    assert torch.equal(sparse.values(), batch.sparse.values())
    assert sparse.values().dtype == batch.sparse.values().dtype
    assert torch.equal(sparse.lengths(), batch.sparse.lengths())
    assert torch.equal(dense, batch.dense)


def test_nothing_of_it_is_in_a_checkpoint() -> None:
    layer = InputLayer({"video": IdRange(10, 7)}, [(1.0, 2.0)])
    assert layer.state_dict() == {}
    assert layer.fold("video", torch.tensor([9, 10, 16, 17])).tolist() == [9, 10, 16, 10]
