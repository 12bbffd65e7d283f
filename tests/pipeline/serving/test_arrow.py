"""Requests as Arrow streams: every type is scored or refused, and none is larger than it looks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipeline.serving.http.answers import ARROW
from tests.pipeline.serving.client import Client
from tests.pipeline.serving.test_rank import ROWS, USER


def test_an_arrow_body_that_is_none_is_refused(client: Client) -> None:
    for body in (b"", b"ARROW1", bytes(range(256)) * 4):
        got = client.rank(body, {"content-type": ARROW})
        assert (got.status, got.error["code"]) == (400, "malformed_arrow"), got.body
    assert client.rank({}, {"content-type": "text/plain"}).status == 415


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("with_dictionary", [False, True])
def test_compressed_arrow_is_refused_unread(
    client: Client, codec: str, with_dictionary: bool
) -> None:
    column = pa.array(["x" * (1 << 20)] * 100)
    table = pa.table({"item": column.dictionary_encode() if with_dictionary else column})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_table(table)
    got = client.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
    assert (got.status, got.error["code"]) == (400, "compressed_arrow")


@pytest.mark.parametrize(
    ("column", "status"),
    [
        (pa.array(["x" * (1 << 20)] * 100).dictionary_encode(), 413),
        (pa.array(["x"] * 100, pa.string_view()), 422),
        (pa.array([{"a": 1}] * 3), 422),
        (pa.array([[[1]]] * 3), 422),
        (pa.array([[1]] * 3, pa.list_view(pa.int64())), 422),
    ],
)
def test_arrow_columns_that_are_larger_than_they_look_are_refused(
    client: Client, column: pa.Array, status: int
) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"item": column})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    got = client.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
    assert (got.status, got.error["field"]) == (status, "candidates.item"), got.body


TYPES = (
    pa.null(),
    pa.bool_(),
    pa.int8(),
    pa.uint64(),
    pa.float16(),
    pa.float64(),
    pa.decimal128(30, 5),
    pa.date32(),
    pa.time64("ns"),
    pa.timestamp("ns", "Asia/Shanghai"),
    pa.duration("ms"),
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.list_(pa.string()),
    pa.large_list(pa.float32()),
    pa.list_(pa.int64(), 2),
    pa.list_(pa.null()),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.float64()),
    pa.dictionary(pa.int8(), pa.binary()),
)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_column_of_any_arrow_type_is_scored_or_refused(client: Client, kind: pa.DataType) -> None:
    table = ROWS.head(3).to_arrow()
    for place, name in enumerate(table.column_names):
        other = table.set_column(place, name, pa.nulls(3, kind))
        other = other.replace_schema_metadata({"homerec.request": "{}"})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, other.schema) as stream:
            stream.write_table(other)
        got = client.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
        assert got.status in (200, 422), (name, got.body)


VALUES = (
    pa.array([2**62] * 3, pa.timestamp("ms")),
    pa.array([0] * 3, pa.timestamp("s", "+05:30")),
    pa.array([0] * 3, pa.timestamp("s", "Nowhere/Atlantis")),
    pa.array([1] * 3, pa.duration("s")),
    pa.array([2**31 - 1] * 3, pa.date32()),
    pa.array([1, 2, 3], pa.decimal256(50, 0)),
    pa.array([1, 2, 3], pa.decimal128(30, 5)),
    pa.array([[None] * 1000] * 3, pa.list_(pa.null())),
    pa.array(["x", "y", "z"]).dictionary_encode(),
    pa.array([True, False, None]),
    pa.array([2**64 - 1] * 3, pa.uint64()),
    pa.array([65504.0] * 3, pa.float32()),
)


@pytest.mark.parametrize("column", VALUES, ids=lambda column: str(column.type))
def test_values_of_any_arrow_type_are_scored_or_refused(client: Client, column: pa.Array) -> None:
    table = ROWS.head(3).to_arrow()
    for name in [*table.column_names, "id"]:
        rest = table.drop_columns([name]) if name in table.column_names else table
        other = rest.append_column(name, column)
        other = other.replace_schema_metadata({"homerec.request": "{}"})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, other.schema) as stream:
            stream.write_table(other)
        got = client.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
        assert got.status in (200, 422), (name, got.body)


def test_a_damaged_arrow_body_is_never_a_bug(client: Client) -> None:
    table = ROWS.head(20).to_arrow().replace_schema_metadata({"homerec.request": "{}"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    whole = np.frombuffer(sink.getvalue(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(300):
        body = whole.copy()
        body[random.integers(len(body), size=random.integers(1, 4))] = random.integers(256)
        got = client.rank(body.tobytes(), {"content-type": ARROW})
        assert got.status in (200, 400, 413, 422), got.body


def test_arrow_numbers_that_are_none_are_named(client: Client) -> None:
    items = ROWS.drop(USER).with_columns(price=pl.Series([1.0, float("nan")] * (len(ROWS) // 2)))
    table = items.to_arrow().replace_schema_metadata({"homerec.request": "{}"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    got = client.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
    assert got.error["field"] == "candidates[1].price"
