"""A replayed log has each row once, in the order of times, at the pace asked for."""

import datetime
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources.config import FilesConfig
from pipeline.io.errors import UserError
from pipeline.replay.log import Log
from pipeline.replay.replay import replay
from pipeline.replay.sinks import FolderSink, open_sink


def written(folder: Path, times: list[float], name: str = "log.parquet") -> FilesConfig:
    pl.DataFrame({"ts": times, "row": range(len(times))}).write_parquet(folder / name)
    return FilesConfig(path=(str(folder / name),))


class Kept:
    def __init__(self) -> None:
        self.tables: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        self.tables.append(rows)

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None: ...


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(1, 20))
def test_slices_have_each_row_once_in_order_of_time(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], every: int
) -> None:
    log = Log(written(tmp_path_factory.mktemp("log"), list(map(float, times))), "ts", 1.0)
    slices = list(log.slices(every))
    rows = [row for one in slices for row in one.rows["row"].to_pylist()]
    assert rows == sorted(range(len(times)), key=lambda row: times[row])
    for one in slices:
        seconds = [times[row] - min(times) for row in one.rows["row"].to_pylist()]
        assert all(one.after_s - every <= second < one.after_s for second in seconds)


def test_rows_come_when_their_times_have_passed(tmp_path: Path) -> None:
    slept: list[float] = []
    log, sink = Log(written(tmp_path, [0.0, 3000.0, 9000.0]), "ts", 1.0), Kept()
    assert replay(log, sink, speed=1000, every_s=1, sleep=slept.append) == 3
    assert [table["row"].to_pylist() for table in sink.tables] == [[0], [1], [2]]
    # Seconds 1, 4 and 10 after the start; the clock stands still while `sleep` only notes.
    assert [round(one, 1) for one in slept] == [1.0, 4.0, 10.0]


def test_times_may_be_timestamps_of_any_unit(tmp_path: Path) -> None:
    start = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
    frame = pl.DataFrame({"ts": [start + datetime.timedelta(hours=h) for h in (2, 0, 1)]})
    for unit in ("ms", "us", "ns"):
        path = tmp_path / f"{unit}.parquet"
        frame.cast(pl.Datetime(unit, "UTC")).write_parquet(path)
        log = Log(FilesConfig(path=(str(path),)), "ts", 1.0)
        assert log.seconds.tolist() == [0.0, 3600.0, 7200.0]
    frame.cast(pl.Date).write_parquet(tmp_path / "date.parquet")
    assert Log(FilesConfig(path=(str(tmp_path / "date.parquet"),)), "ts", 1.0).length_s == 0


@pytest.mark.parametrize(
    "texts",
    [["3600", "0"], ["2026-05-01 01:00:00", "2026-05-01"], ["2026-05-01T01:00Z", "2026-05-01T00Z"]],
)
def test_times_may_be_text_as_in_csv_files(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "log.csv").write_text(
        "ts,row\n" + "".join(f"{t},0\n" for t in texts), encoding="utf-8"
    )
    log = Log(FilesConfig(path=(str(tmp_path / "log.csv"),)), "ts", 1.0)
    assert log.seconds.tolist() == [0.0, 3600.0]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([1.0, None], "column 'ts', row 1: no time"),
        ([1.0, float("inf")], "column 'ts', row 1: inf is no time"),
        (["a", "b"], "column 'ts' is text that is no time"),
        ([[1.0], [2.0]], "column 'ts' is"),
        ([], "no rows"),
    ],
)
def test_a_log_without_times_is_rejected(tmp_path: Path, values: list[float], line: str) -> None:
    with pytest.raises(UserError, match=line):
        Log(written(tmp_path, values), "ts", 1.0)


def test_files_of_a_folder_appear_whole_and_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        with FolderSink(out) as sink:
            sink.write(pa.table({"row": [1, 2]}))
            sink.write(pa.table({"row": [3]}))
    names = [f"replay-{number:08d}.parquet" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in out.iterdir()) == names
    assert [row for name in names for row in pq.read_table(out / name)["row"].to_pylist()] == [
        1, 2, 3, 1, 2, 3,
    ]  # fmt: skip


@pytest.mark.parametrize("to", ["kafka://host", "kafka:/x", "s3://bucket/x"])
def test_an_address_that_is_none_is_rejected(to: str) -> None:
    with pytest.raises(UserError, match="--to"):
        open_sink(to, None)


def test_messages_are_the_rows_by_key(tmp_path: Path) -> None:
    broker = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
    node = next(iter(broker.list_topics(timeout=10).brokers.values()))
    rows = pa.table(
        {"id": [7, 8, 7], "name": ["ä", None, "b"], "ts": [datetime.datetime(2026, 5, 1)] * 3}
    )
    with open_sink(f"kafka://{node.host}:{node.port}/log", "id") as sink:
        sink.write(rows)
    consumer = Consumer(
        {"bootstrap.servers": f"{node.host}:{node.port}", "group.id": "t"}
        | {"auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["log"])
    messages: list[tuple[bytes | None, bytes]] = []
    while len(messages) < 3:
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None, message.error()
        messages.append((message.key(), message.value() or b""))
    consumer.close()
    found = sorted((key, json.loads(value)["name"] or "") for key, value in messages)
    assert found == [(b"7", "b"), (b"7", "ä"), (b"8", "")]
    assert json.loads(messages[0][1])["ts"] == "2026-05-01T00:00:00"
