"""Side tables add their columns to each row with their key."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.sources.config import FilesConfig, JoinConfig
from pipeline.data.sources.joined import JoinedTable, open_joined
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import cuts, read_all


def write(path: Path, columns: dict[str, Any]) -> Path:
    table = pa.table(columns)
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=2)
    return path


def joined(log: Path, *sides: tuple[Path, Any]) -> JoinedTable:
    joins = [JoinConfig(path=(str(path),), on=on) for path, on in sides]
    return open_joined(FilesConfig(path=(str(log),)), joins)


KEYS = st.sampled_from([-1, 0, 1, 2, 12, 10**17])


@settings(max_examples=60)
@given(
    st.data(),
    st.lists(st.none() | KEYS, max_size=12),
    st.lists(KEYS, max_size=6, unique=True),
    st.sampled_from([pa.int64(), pa.int16(), pa.string(), pa.float64(), pa.uint64()]),
    st.sampled_from([pa.int64(), pa.string()]),
)
def test_a_join_is_a_left_join(
    data: st.DataObject,
    log_keys: list[int | None],
    side_keys: list[int],
    log_type: pa.DataType,
    side_type: pa.DataType,
) -> None:
    limits = {pa.int16(): (-(2**15), 2**15), pa.uint64(): (0, 2**64), pa.float64(): (-1e15, 1e15)}
    low, high = limits.get(log_type, (-(2**63), 2**63))
    log_keys = [None if key is None or not low <= key < high else key for key in log_keys]
    text = log_type == pa.string()
    written = [None if key is None else str(key) if text else key for key in log_keys]
    log = pa.table({"row": pa.array(range(len(written))), "user": pa.array(written, log_type)})
    side = pa.table(
        {
            "id": pa.array(
                [str(k) if side_type == pa.string() else k for k in side_keys], side_type
            ),
            "age": pa.array([key % 100 for key in side_keys], pa.int64()),
            "tags": pa.array([[str(key)] for key in side_keys], pa.list_(pa.string())),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (("log", log), ("side", side)):
            Path(folder, name).mkdir()
            for number, part in enumerate(data.draw(cuts(table))):
                pq.write_table(part, Path(folder, name, f"{number}.parquet"), row_group_size=3)
        source = joined(Path(folder, "log"), (Path(folder, "side"), {"user": "id"}))
        found = read_all(source, ["tags", "row", "age"])
        known = set(side_keys)
        assert found["row"].to_pylist() == list(range(len(log_keys)))
        assert found["age"].to_pylist() == [k % 100 if k in known else None for k in log_keys]
        assert found["tags"].to_pylist() == [[str(k)] if k in known else None for k in log_keys]
        read_all(source, ["age"])
        assert list(source.misses.values()) == [sum(key not in known for key in log_keys)]
        assert source.names == ["row", "user", "age", "tags"]


def test_several_keys_and_tables(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", {"item": [1, 2, 1], "day": ["a", "a", "b"]})
    items = write(tmp_path / "items.parquet", {"item": [2, 1], "seller": ["x", "y"]})
    prices = write(tmp_path / "prices.csv", {"day": ["a", "b"], "item": [1, 1], "price": [5, 6]})
    sellers = write(tmp_path / "sellers.parquet", {"name": ["y"], "stars": [4.5]})
    source = joined(log, (items, "item"), (prices, ["item", "day"]), (sellers, {"seller": "name"}))
    assert source.names == ["item", "day", "seller", "price", "stars"]
    table = read_all(source, ["stars", "price", "item"])
    assert table.to_pydict() == {
        "stars": [4.5, None, 4.5],
        "price": ["5", None, "6"],
        "item": ["1", "2", "1"],
    }
    assert source.misses == {str(items): 0, str(prices): 1, str(sellers): 1}
    assert source.locate(source.chunks[0], 2) == f"{log}: row 2 (from 0), line 4"
    assert [file.name for file in source.side_files] == [str(items), str(prices), str(sellers)]


def test_columns_in_two_tables_are_refused_when_read(tmp_path: Path) -> None:
    log = write(tmp_path / "log.parquet", {"user": [1], "time": [1]})
    first = write(tmp_path / "first.parquet", {"user": [1], "time": [2], "age": [3], "ok": [1]})
    second = write(tmp_path / "second.parquet", {"user": [1], "age": [4]})
    source = joined(log, (first, "user"), (second, "user"))
    assert source.faults == {
        "time": f"column 'time' is in {log} and in {first}; rename it in one of them",
        "age": f"column 'age' is in {first} and in {second}; rename it in one of them",
    }
    assert read_all(source, ["ok", "user"]).to_pydict() == {"ok": [1], "user": [1]}
    for name, fault in source.faults.items():
        with pytest.raises(UserError) as caught:
            source.require([name])
        assert str(caught.value) == fault


def test_what_is_wrong_with_keys(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", {"user": [1]})
    side = write(tmp_path / "side.csv", {"user": [7, 12, 3, 12], "city": ["a", "b", "c", "d"]})
    cases = {
        "user": f"{side}: row 1 (from 0), line 3 and {side}: row 3 (from 0), line 5: both have "
        "user '12'; a side table has one row per key",
        "city": f"{log}: no column 'city'; it is a key of {side}; known: user",
    }
    for on, message in cases.items():
        with pytest.raises(UserError) as caught:
            joined(log, (side, on))
        assert str(caught.value) == message
    with pytest.raises(UserError, match="no key column 'usr'; did you mean 'user'"):
        joined(log, (side, {"user": "usr"}))


def test_keys_without_value_match_nothing(tmp_path: Path) -> None:
    log = write(tmp_path / "log.parquet", {"a": [1, None, None], "b": [None, 1, None]})
    side = write(
        tmp_path / "side.parquet", {"a": [1, None, None, 2], "b": [None] * 4, "x": [1, 2, 3, 4]}
    )
    assert read_all(joined(log, (side, ["a", "b"])), ["x"])["x"].null_count == 3


def test_polars_agrees_on_a_larger_table(tmp_path: Path) -> None:
    size = 20_000
    users = [(7919 * number) % 5000 for number in range(size)]
    log = write(tmp_path / "log.csv", {"user": users, "row": list(range(size))})
    side = write(tmp_path / "side.csv", {"user": list(range(0, 5000, 2)), "x": list(range(2500))})
    found = read_all(joined(log, (side, "user")))
    expected = pl.read_csv(log, infer_schema=False).join(
        pl.read_csv(side, infer_schema=False), on="user", how="left", maintain_order="left"
    )
    assert pl.DataFrame(pl.from_arrow(found)).equals(expected)
