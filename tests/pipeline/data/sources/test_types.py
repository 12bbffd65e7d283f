"""Each column has one type over all files, or an error that names two files."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.sources.unify import canonical, unify
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all

LIST = pa.large_list
ZONE = "Europe/Berlin"
TYPES = [
    (pa.int8(), pa.int64()),
    (pa.uint32(), pa.int64()),
    (pa.uint64(), pa.uint64()),
    (pa.float16(), pa.float64()),
    (pa.decimal128(38, 0), pa.int64()),
    (pa.decimal256(50, 2), pa.float64()),
    (pa.bool_(), pa.bool_()),
    (pa.null(), pa.null()),
    (pa.string_view(), pa.large_string()),
    (pa.dictionary(pa.int8(), pa.string()), pa.large_string()),
    (pa.dictionary(pa.int8(), pa.int32()), pa.int64()),
    (pa.timestamp("s"), pa.timestamp("us")),
    (pa.timestamp("ns", ZONE), pa.timestamp("ns", ZONE)),
    (pa.date64(), pa.date32()),
    (pa.list_(pa.float32(), 3), LIST(pa.float64())),
    (pa.list_(pa.list_(pa.string())), None),
    (pa.struct([("a", pa.int64())]), None),
    (pa.list_(pa.struct([("a", pa.int64())])), None),
    (pa.map_(pa.string(), pa.int64()), None),
    (pa.binary(), None),
    (pa.time64("us"), None),
    (pa.duration("s"), None),
]


@pytest.mark.parametrize(("found", "expected"), TYPES)
def test_canonical(found: pa.DataType, expected: pa.DataType | None) -> None:
    assert canonical(found) == expected


US, NS = pa.timestamp("us"), pa.timestamp("ns")
PAIRS = [
    (pa.int64(), pa.float64(), pa.float64()),
    (pa.int64(), pa.uint64(), pa.uint64()),
    (pa.null(), pa.large_string(), pa.large_string()),
    (LIST(pa.null()), LIST(pa.int64()), LIST(pa.int64())),
    (LIST(pa.int64()), LIST(pa.float64()), LIST(pa.float64())),
    (US, NS, NS),
    (pa.timestamp("us", ZONE), pa.timestamp("ns", "UTC"), pa.timestamp("ns", "UTC")),
    (pa.timestamp("us", ZONE), US, None),
    (pa.int64(), pa.large_string(), None),
    (pa.bool_(), pa.int64(), None),
    (pa.date32(), US, None),
    (pa.int64(), LIST(pa.int64()), None),
    (LIST(pa.int64()), LIST(pa.large_string()), None),
]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS)
def test_unify(first: pa.DataType, second: pa.DataType, expected: pa.DataType | None) -> None:
    assert unify(first, second) == unify(second, first) == expected


def write(folder: Path, *columns: dict[str, Any]) -> None:
    for number, each in enumerate(columns):
        pq.write_table(pa.table(each), folder / f"{number}.parquet")


def test_values_of_mixed_writers(tmp_path: Path) -> None:
    noon = datetime.datetime(2026, 5, 1, 12)
    write(
        tmp_path,
        {
            "n": pa.array([1, None], pa.int32()),
            "d": pa.array([Decimal("1.5"), Decimal(2)], pa.decimal128(9, 1)),
            "t": pa.array([noon, None], pa.timestamp("ms")),
            "l": pa.array([[1], []], pa.list_(pa.int16())),
            "c": pa.array(["a", None]).dictionary_encode(),
        },
        {
            "c": pa.array(["b"], pa.large_string()),
            "l": pa.array([[0.5, None]], pa.large_list(pa.float32())),
            "t": pa.array([noon], pa.timestamp("ns")),
            "d": pa.array([3], pa.int8()),
            "n": pa.array([2.5], pa.float32()),
        },
    )
    source = opened(tmp_path)
    assert source.types == {
        "n": pa.float64(),
        "d": pa.float64(),
        "t": pa.timestamp("ns"),
        "l": LIST(pa.float64()),
        "c": pa.large_string(),
    }
    found = read_all(source)
    assert found["t"].cast(pa.timestamp("us")).to_pylist() == [noon, None, noon]
    assert found.drop(["t"]).to_pydict() == {
        "n": [1.0, None, 2.5],
        "d": [1.5, 2.0, 3.0],
        "l": [[1.0], [], [0.5, None]],
        "c": ["a", None, "b"],
    }


def test_faults_matter_only_if_the_column_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"ok": [1], "kind": [1], "old": [1], "s": [{"a": 1}], "l": [[1]]},
        {"ok": [2], "kind": ["x"], "new": [1], "s": [{"a": 2}], "l": [["x"]]},
    )
    source = opened(tmp_path)
    first, second = (file.name for file in source.files)
    assert read_all(source, ["ok"])["ok"].to_pylist() == [1, 2]
    assert source.names == ["ok", "kind", "old", "s", "l", "new"]
    assert list(source.types) == ["ok"]
    assert source.faults == {
        "kind": f"column 'kind' is int64 in {first} and text in {second}; write it with one type",
        "old": f"{second}: no column 'old', which {first} has; add it, or leave one of them out",
        "new": f"{first}: no column 'new', which {second} has; add it, or leave one of them out",
        "s": f"{first}: column 's' is struct<a: int64>, which cannot be read; write a column of "
        "numbers, text, times or lists, or leave it out",
        "l": f"column 'l' is a list of int64 in {first} and a list of text in {second}; write it "
        "with one type",
    }
    for name, fault in source.faults.items():
        with pytest.raises(UserError) as caught:
            source.read(source.chunks[0], [name])
        assert str(caught.value) == fault


LOSSES: list[tuple[pa.Array, pa.Array, str]] = [
    (pa.array([0, 2**53 + 1]), pa.array([0.5]), f"{2**53 + 1} cannot be stored as double"),
    (pa.array([0, -1]), pa.array([0], pa.uint64()), "-1 cannot be stored as uint64"),
    (
        pa.array([0, 10**20], pa.decimal128(38, 0)),
        pa.array([1]),
        f"{10**20} cannot be stored as int64",
    ),
    (
        pa.array([0, 253402300799], pa.timestamp("s")),
        pa.array([0], pa.timestamp("ns")),
        "9999-12-31 23:59:59 cannot be stored as a timestamp without time zone",
    ),
]


@pytest.mark.parametrize(("column", "other", "message"), LOSSES)
def test_a_value_that_does_not_fit(
    tmp_path: Path, column: pa.Array, other: pa.Array, message: str
) -> None:
    write(tmp_path, {"a": column}, {"a": other})
    with pytest.raises(UserError) as caught:
        read_all(opened(tmp_path))
    where = f"{tmp_path}/0.parquet: row 1 (from 0), column 'a'"
    assert str(caught.value).startswith(f"{where}: {message} without loss; correct the value, or")


def test_timestamps_of_spark_do_not_overflow(tmp_path: Path) -> None:
    last = datetime.datetime(9999, 12, 31)
    table = pa.table({"t": pa.array([last], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert read_all(opened(tmp_path))["t"].to_pylist() == [last]


def test_empty_files_and_row_groups(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    pq.write_table(schema.empty_table(), tmp_path / "0.parquet")
    with pq.ParquetWriter(tmp_path / "1.parquet", schema) as writer:
        writer.write_table(pa.table({"a": [1]}))
        writer.write_table(schema.empty_table())
        writer.write_table(pa.table({"a": [2, 3]}))
    with pq.ParquetWriter(tmp_path / "2.parquet", schema):
        pass
    source = opened(tmp_path)
    assert read_all(source)["a"].to_pylist() == [1, 2, 3]
    assert [(chunk.file, chunk.first_row, chunk.rows) for chunk in source.chunks] == [
        (1, 0, 1),
        (1, 1, 2),
    ]
    assert opened(tmp_path / "0.parquet").chunks == []


def test_partitions(tmp_path: Path) -> None:
    for folder, value in (("day=1/city=a%2Fb", 1), ("day=02/city=__HIVE_DEFAULT_PARTITION__", 2)):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"v": [value, value]}), tmp_path / folder / "x.parquet")
    source = opened(tmp_path)
    assert source.types == {"v": pa.int64(), "day": pa.int64(), "city": pa.large_string()}
    assert read_all(source, ["city", "day"]).to_pydict() == {
        "city": [None, None, "a/b", "a/b"],
        "day": [2, 2, 1, 1],
    }


@pytest.mark.parametrize("name", ["*", "^z$", "^.*$"])
def test_names_that_are_patterns(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1], name: [2], "^b": [3]}), path)
    source = opened(path)
    assert read_all(source, ["a", "^b"]).to_pydict() == {"a": [1], "^b": [3]}
    with pytest.raises(UserError, match=f"column {re.escape(repr(name))}: .*; rename it"):
        source.require([name])
