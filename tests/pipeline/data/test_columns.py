from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.data.batch import NO_USER
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from tests.pipeline.data.small_folder import open_small, random_rows, write_folder


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("user", [NO_USER, 0, 7, -3]),  # not a feature: any number is a user
        ("video", [NO_USER, NO_USER, 7, 9]),  # an index, of which 0 is none
    ],
)
def test_a_row_without_a_user_says_so(tmp_path: Path, column: str, found: list[int]) -> None:
    rows = random_rows(4)
    last = -3 if column == "user" else 9
    for row, value in zip(rows, (None, 0, 7, last), strict=True):
        row[column] = value
    schema = write_folder(tmp_path, rows)
    Schema.model_validate(schema.model_dump() | {"user_column": column}).save(tmp_path)
    (batch,) = open_small(tmp_path)
    assert batch.users.tolist() == found


def test_without_a_user_column_no_row_has_a_user(tmp_path: Path) -> None:
    schema = write_folder(tmp_path, random_rows(4))
    for file in schema.splits["train"].files:
        table = pq.read_table(tmp_path / file)
        pq.write_table(table.drop_columns("user"), tmp_path / file)
    schema.model_copy(update={"user_column": None}).save(tmp_path)
    (batch,) = open_small(tmp_path)
    assert batch.users.dtype == torch.int64
    assert batch.users.tolist() == [NO_USER] * 4


def test_weights_are_the_column_and_0_for_padding(tmp_path: Path) -> None:
    rows = random_rows(10)
    write_folder(tmp_path, rows, weighted=True)
    batches = list(open_small(tmp_path, batch_size=4))
    found = torch.cat([batch.weights for batch in batches])
    assert found.dtype == torch.float32
    assert found.tolist() == [row["row.weight"] for row in rows] + [0, 0]


@pytest.mark.parametrize(
    ("value", "said"), [(None, "null"), (-0.5, "-0.5"), (np.inf, "inf"), (np.nan, "nan")]
)
def test_a_row_needs_a_weight(tmp_path: Path, value: float | None, said: str) -> None:
    write_folder(tmp_path, random_rows(10), weighted=True)
    file = tmp_path / "train" / "part-00001.parquet"
    table = pq.read_table(file)
    column = table.column_names.index("row.weight")
    table = table.set_column(
        column, "row.weight", pa.array([1, 1, value, None, -1], type=pa.float32())
    )
    pq.write_table(table, file)
    with pytest.raises(UserError) as caught:
        open_small(tmp_path).check_values()
    line = str(caught.value)
    assert line == (
        f"{file}: row 2 (from 0), column 'row.weight': {said} is not a row weight (a finite number "
        "from 0); give every row one, and prepare the folder again"
    )
    with pytest.raises(UserError) as caught:
        list(open_small(tmp_path))
    assert str(caught.value) == line
