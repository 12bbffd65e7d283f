"""Delta tables: the files of the newest version, with their partitions and schema."""

from __future__ import annotations

import datetime
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all


def test_versions_partitions_and_a_new_column(tmp_path: Path) -> None:
    path = tmp_path / "table"
    day = datetime.date(2026, 5, 1)
    first = pa.table({"v": [0, 1], "day": pa.array([day, day]), "city": ["a b/c=%", "x"]})
    deltalake.write_deltalake(path, first, partition_by=["day", "city"])
    deltalake.DeltaTable(path).delete("v = 1")
    later = pa.table(
        {
            "v": [2],
            "day": pa.array([day], pa.date32()),
            "city": pa.nulls(1, pa.string()),
            "w": [0.5],
        }
    )
    deltalake.write_deltalake(path, later, mode="append", schema_mode="merge")
    source = opened(path)
    assert source.faults == {}
    rows = sorted(read_all(source).to_pylist(), key=lambda row: row["v"])
    assert rows == [
        {"v": 0, "w": None, "day": day, "city": "a b/c=%"},
        {"v": 2, "w": 0.5, "day": day, "city": None},
    ]
    assert all(Path(file.name).stat().st_size == file.size for file in source.files)


def test_partitions_have_the_types_of_the_schema(tmp_path: Path) -> None:
    noon = datetime.datetime(2026, 5, 1, 12, 0, 0, 123)
    table = pa.table(
        {
            "v": [1],
            "flag": [True],
            "utc": pa.array([noon], pa.timestamp("us", "UTC")),
            "local": pa.array([noon], pa.timestamp("us")),
            "x": [0.1],
            "n": pa.array([7], pa.int16()),
        }
    )
    deltalake.write_deltalake(tmp_path / "table", table, partition_by=table.column_names[1:])
    found = read_all(opened(tmp_path / "table"), table.column_names)
    assert found == table.set_column(5, "n", table["n"].cast(pa.int64()))


def test_what_is_no_delta_table(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(UserError, match="not a Delta table that can be read"):
        opened(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        opened(tmp_path / "none", format="delta")


def test_mapped_columns_are_refused(tmp_path: Path) -> None:
    mode = {"delta.columnMapping.mode": "name"}
    deltalake.write_deltalake(tmp_path / "table", pa.table({"v": [1]}))
    log = tmp_path / "table/_delta_log/00000000000000000000.json"
    text = log.read_text("utf-8")
    assert '"configuration":{}' in text
    entry = ",".join(f'"{key}":"{value}"' for key, value in mode.items())
    text = text.replace('"configuration":{}', f'"configuration":{{{entry}}}')
    log.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="mapped columns cannot be read; write it as Parquet"):
        opened(tmp_path / "table")
