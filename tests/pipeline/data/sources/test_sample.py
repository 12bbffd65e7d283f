"""A sample has rows of all parts of a table, the same ones each time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.sources.sample import sample
from tests.pipeline.data.sources.tables import opened


@pytest.mark.parametrize("rows", [1, 7, 50, 99, 1000, 5000])
def test_rows_are_spread(tmp_path: Path, rows: int) -> None:
    for number in range(5):
        part = pa.table({"n": range(200 * number, 200 * number + 200), "x": ["a"] * 200})
        pq.write_table(part, tmp_path / f"{number}.parquet", row_group_size=10)
    source = opened(tmp_path)
    found = sample(source, rows)["n"].to_pylist()
    assert found == sample(source, rows)["n"].to_pylist() == sorted(set(found))
    assert len(found) == min(rows, 1000)
    if rows > 5:
        assert {value // 200 for value in found} == set(range(5))
    assert sample(source, rows, ["x"]).column_names == ["x"]


def test_all_rows_of_a_small_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    assert sample(opened(tmp_path), 10).to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}
    pq.write_table(pa.schema([("a", pa.int64())]).empty_table(), tmp_path / "b.parquet")
    empty = sample(opened(tmp_path / "b.parquet"), 10)
    assert (len(empty), empty.schema) == (0, pa.schema([("a", pa.int64())]))
