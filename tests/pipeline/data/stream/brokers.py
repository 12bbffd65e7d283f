"""A topic on the mock cluster of librdkafka."""

from __future__ import annotations

import json

import polars as pl
from confluent_kafka import Producer


class Topic:
    """A topic and its producer, in which the cluster runs."""

    def __init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
        node = next(iter(self._producer.list_topics(timeout=10).brokers.values()))
        self.address = f"kafka://{node.host}:{node.port}/log"

    def send(self, rows: pl.DataFrame, partitions: int) -> None:
        """Send each row as a JSON object, to some partitions in turn."""
        for number, row in enumerate(rows.to_dicts()):
            text = json.dumps(row, default=lambda value: value.isoformat())
            self._producer.produce("log", text.encode(), partition=number % partitions)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
