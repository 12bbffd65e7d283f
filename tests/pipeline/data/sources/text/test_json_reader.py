"""JSON lines: the types of all values of a file, in whatever parts it is read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.sources.files import Source
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import (
    cuts,
    opened,
    parts_of,
    read_all,
    tables,
    write_jsonl,
)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 200))
def test_what_is_written_is_read(data: st.DataObject, size: int) -> None:
    names = ["whole", "flag", "text", "ids", "tags", "number"]
    table = data.draw(tables(*names).filter(len))
    finite = all(abs(x) < float("inf") for x in table["number"].to_pylist() if x is not None)
    names = names if finite else names[:-1]
    with tempfile.TemporaryDirectory() as folder, parts_of(size):
        for number, part in enumerate(data.draw(cuts(table))):
            write_jsonl(part.select(names), Path(folder, f"part-{number}.jsonl"))
        found = read_all(opened(folder), names)
    assert found.to_pylist() == table.select(names).to_pylist()


def written(folder: Path, *rows: dict[str, Any], size: int = 1) -> Source:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with parts_of(size):
        return opened(path)


CASES: list[tuple[list[Any], pa.DataType, list[Any]]] = [
    ([1, None, 2.5], pa.float64(), [1.0, None, 2.5]),
    ([1, 2**64 - 1], pa.uint64(), [1, 2**64 - 1]),
    ([1.5, 2.0**60], pa.float64(), [1.5, 2.0**60]),
    ([None, None], pa.null(), [None, None]),
    ([None, "x"], pa.large_string(), [None, "x"]),
    (["2026-05-01 12:00:00", "soon"], pa.large_string(), ["2026-05-01 12:00:00", "soon"]),
    (["2026-05-01 12:00:00"], pa.large_string(), ["2026-05-01 12:00:00"]),
    ([["2026-05-01"], ["x"]], pa.large_list(pa.large_string()), [["2026-05-01"], ["x"]]),
    ([[], [None], [1], [0.5]], pa.large_list(pa.float64()), [[], [None], [1.0], [0.5]]),
    ([None, [], [None, None]], pa.large_list(pa.large_string()), [None, [], [None, None]]),
    ([True, None], pa.bool_(), [True, None]),
]


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(("values", "kind", "expected"), CASES)
def test_types_are_those_of_all_values(
    tmp_path: Path, values: list[Any], kind: pa.DataType, expected: list[Any], size: int
) -> None:
    source = written(tmp_path, *({"a": value} for value in values), size=size)
    assert source.types == {"a": kind}
    assert read_all(source)["a"].to_pylist() == expected


@pytest.mark.parametrize("size", [1, 10_000])
def test_keys_may_be_missing_and_lines_empty(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n\n  \t\r\n{"b": "x"}\r\n {}\n{"a": 2, "b": "y"}', encoding="utf-8")
    with parts_of(size):
        source = opened(path)
    assert read_all(source).to_pydict() == {"a": [1, None, None, 2], "b": [None, "x", None, "y"]}
    chunk = source.chunks[-1]
    assert source.locate(chunk, chunk.rows - 1) == f"{path}: row 3 (from 0), line 6"


@pytest.mark.parametrize("size", [1, 10_000])
def test_another_type_is_named(tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError) as caught:
        written(tmp_path, {"b": 1}, {"a": 1}, {"b": 2}, {"a": "x\ny"}, size=size)
    where = f"{tmp_path}/a.jsonl: line 4, column 'a': \"x\\ny\""
    assert str(caught.value).startswith(where)
    assert str(caught.value).endswith("write one type per column")


@pytest.mark.parametrize("size", [1, 10_000])
def test_objects_are_refused_only_if_read(tmp_path: Path, size: int) -> None:
    rows = [{"a": 1, "o": {"x": 1}}, {"a": 2, "o": {"y": []}}]
    source = written(tmp_path, *rows, size=size)
    assert read_all(source, ["a"])["a"].to_pylist() == [1, 2]
    with pytest.raises(UserError, match=r"column 'o' is struct<.*>, which cannot be read"):
        source.require(["o"])
