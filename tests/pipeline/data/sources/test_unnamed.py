"""A column without a name is column_N in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all, write_arrow_file, write_jsonl

WRITERS: dict[str, Any] = {
    ".parquet": pq.write_table,
    ".arrow": write_arrow_file,
    ".jsonl": write_jsonl,
    ".csv": pa.csv.write_csv,
}


@pytest.mark.parametrize("ending", WRITERS)
def test_it_has_its_position_for_a_name(tmp_path: Path, ending: str) -> None:
    table = pa.table({"user": ["u", "v"], "": ["1", "2"], "item": ["3", "4"]})
    WRITERS[ending](table, tmp_path / f"a{ending}")
    source = opened(tmp_path)
    assert source.names == ["user", "column_2", "item"]
    found = read_all(source, ["item", "column_2"]).to_pydict()
    assert found == {"item": ["3", "4"], "column_2": ["1", "2"]}


def test_the_name_may_be_taken(tmp_path: Path) -> None:
    pq.write_table(pa.table({"column_2": ["u"], "": ["1"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: 2 columns are named 'column_2'; rename all"):
        opened(tmp_path)
