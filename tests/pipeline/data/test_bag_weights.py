"""Weights of a bag's values stay with their values, and errors name the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from tests.pipeline.data.small_folder import FEATURES, Row, open_small, random_rows, write_folder


def weigh(
    folder: Path, rows: list[Row], weights: list[Any], kind: pa.DataType | None = None
) -> None:
    """Add the column w, the weights of `likes`, to a folder of one file a split."""
    schema = Schema.load(folder)
    (file,) = schema.splits["train"].files
    table = pq.read_table(folder / file)
    column = pa.array(weights, type=kind or pa.list_(pa.float32()))
    pq.write_table(table.append_column("w", column), folder / file, row_group_size=5)
    sparse = [
        one.model_copy(update={"weights": "w"} if one.name == "likes" else {}) for one in FEATURES
    ]
    schema.model_copy(update={"sparse": tuple(sparse)}).save(folder)


def numbered(rows: list[Row]) -> list[list[float] | None]:
    """Row r's k-th value has weight r + k / 8."""
    return [
        None if row["likes"] is None else [r + k / 8 for k in range(len(row["likes"]))]
        for r, row in enumerate(rows)
    ]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_weights_stay_with_their_values(tmp_path: Path, shuffle: bool, kind: pa.DataType) -> None:
    rows = random_rows(24)
    write_folder(tmp_path, rows, files=1)
    weigh(tmp_path, rows, numbered(rows), pa.large_list(kind))
    seen = 0
    for batch in open_small(tmp_path, shuffle=shuffle, batch_size=6):
        by_name = batch.sparse.to_dict()
        assert batch.sparse.weights().dtype == torch.float32
        for name, bag in by_name.items():
            for n, user in enumerate(batch.users.tolist()):
                mine = bag.weights()[bag.offsets()[n] : bag.offsets()[n + 1]].tolist()
                if name == "likes":
                    assert mine == [user + k / 8 for k in range(len(rows[user]["likes"] or []))]
                else:
                    assert set(mine) <= {1.0}
        seen += len(batch.users)
    assert seen == 24


def test_without_weights_a_batch_has_none(tmp_path: Path) -> None:
    write_folder(tmp_path, random_rows(8))
    assert all(batch.sparse.weights_or_none() is None for batch in open_small(tmp_path))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], "1 is its number of weights, but 'likes' has 2 values"),
        (None, "0 is its number of weights, but 'likes' has 2 values"),
        ([1.0, None], "[1.0, None] is a list with a weight that is not a finite number"),
        ([1.0, torch.inf], "[1.0, inf] is a list with a weight that is not a finite number"),
    ],
)
def test_a_value_needs_one_finite_weight(tmp_path: Path, weights: Any, said: str) -> None:
    rows = [row | {"likes": [1, 2]} for row in random_rows(12)]
    write_folder(tmp_path, rows, files=1)
    lists: list[Any] = [[0.5, 1.5] for _ in rows]
    lists[7] = weights
    weigh(tmp_path, rows, lists)
    with pytest.raises(UserError) as caught:
        list(open_small(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'train/part-00000.parquet'}: row 7 (from 0), column 'w': {said}; "
        "give each value one weight, and prepare the folder again"
    )
