"""Messages are taken once, from all partitions, on the mock cluster of librdkafka."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.stream.kafka_topic import KafkaTopic
from pipeline.data.stream.window import LogPosition
from pipeline.io.errors import UserError
from tests.pipeline.data.stream.brokers import Topic


def numbered(first: int, rows: int) -> pl.DataFrame:
    return pl.DataFrame({"x": range(first, first + rows)})


def test_each_message_is_in_one_window(tmp_path: Path) -> None:
    topic = Topic()
    topic.send(numbered(0, 50), partitions=2)
    log, position = KafkaTopic(topic.address), LogPosition()
    seen: list[int] = []
    for number in range(1, 8):
        if number == 3:
            topic.send(numbered(50, 20), partitions=3)  # a partition that was empty until now
        log.look(position)
        window = log.take(position, 10, number=number)
        assert window is not None
        assert window.rows == 10
        assert window.lag_rows == (50 if number < 3 else 70) - 10 * number
        path = tmp_path / f"{number}.jsonl"
        assert log.fetch(window, path)
        found = [json.loads(line)["x"] for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(found) == 10
        seen += found
        position = LogPosition.model_validate_json(window.after.model_dump_json())
    assert sorted(seen) == list(range(70))
    log.look(position)
    assert log.available(position) == 0
    assert log.take(position, 1, number=8) is None


def test_a_new_run_may_start_with_the_next_message() -> None:
    topic = Topic()
    topic.send(numbered(0, 50), partitions=2)
    log, start = KafkaTopic(topic.address, start="latest"), LogPosition()
    log.look(start)
    assert log.available(start) == 0
    topic.send(numbered(50, 6), partitions=2)
    log.look(start)
    assert log.available(start) == 6


def test_another_topic_is_named() -> None:
    topic = Topic()
    topic.send(numbered(0, 4), partitions=1)
    with pytest.raises(UserError, match="partition 0 ends at offset 4, before 9"):
        KafkaTopic(topic.address).look(LogPosition(offsets={"0": 9}))
    with pytest.raises(UserError, match="check the topic's name"):
        KafkaTopic(topic.address + "s").look(LogPosition())
    with pytest.raises(UserError, match="write kafka://HOST:PORT/TOPIC"):
        KafkaTopic("kafka://host")


def test_messages_that_kafka_has_removed_are_named() -> None:
    topic = Topic()
    # The mock cluster keeps some MB of a partition.
    topic.send(pl.DataFrame({"x": ["x" * 900_000] * 12}), partitions=1)
    position = LogPosition(offsets={"0": 1})
    with pytest.raises(UserError, match=r"messages 1 to \d+ of partition 0 are gone"):
        KafkaTopic(topic.address).look(position)
    log = KafkaTopic(topic.address, skip_lost=True)
    log.look(position)
    assert 0 < log.available(position) < 11
