"""The model's own input layer makes of raw columns what the reader makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from embeddings.input_layer import IdRange, InputLayer
from pipeline.data.columns import input_layer
from tests.pipeline.data.small_folder import (
    FEATURES,
    HASH_ROWS,
    open_small,
    random_rows,
    raw_columns,
    write_folder,
)


@pytest.mark.parametrize("seed", [0, 1])
def test_raw_columns_become_what_the_reader_gives(seed: int, tmp_path: Path) -> None:
    rows = random_rows(40, seed)
    schema = write_folder(tmp_path, rows, files=2, row_group_size=7)
    (batch,) = open_small(tmp_path, batch_size=40)
    sparse, dense = input_layer(schema, FEATURES, HASH_ROWS)(*raw_columns(rows))
    assert sparse.keys() == batch.sparse.keys()
    assert torch.equal(sparse.values(), batch.sparse.values())
    assert sparse.values().dtype == batch.sparse.values().dtype
    assert torch.equal(sparse.lengths(), batch.sparse.lengths())
    assert torch.equal(dense, batch.dense)


def test_nothing_of_it_is_in_a_checkpoint() -> None:
    layer = InputLayer({"video": IdRange(10, 7)}, [(1.0, 2.0)])
    assert layer.state_dict() == {}
    assert layer.fold("video", torch.tensor([9, 10, 16, 17])).tolist() == [9, 10, 16, 10]


@pytest.mark.parametrize("num_rows", [0, 1, 1024, 3000])
@pytest.mark.parametrize("num_columns", [0, 1, 116])
def test_columns_are_normalized_as_rows_are(num_rows: int, num_columns: int) -> None:
    numbers = [(float(i), 1.0 + i) for i in range(num_columns)]
    layer = InputLayer({"video": IdRange(10, 7)}, numbers)
    columns = torch.randn(num_columns, num_rows, generator=torch.Generator().manual_seed(0))
    columns[:, ::7], columns[:, 1::7] = torch.nan, 3e38
    kept = columns.clone()
    rows = layer.normalize_columns(columns)
    assert rows.is_contiguous()
    assert torch.equal(rows, layer.normalize(columns.t()))
    assert torch.equal(columns.nan_to_num(), kept.nan_to_num())
