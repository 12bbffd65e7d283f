from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from pipeline.data.batch import NO_USER
from pipeline.data.schema import Schema
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
