"""Where a replayed log goes: files in a folder, or a topic of Kafka."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.stream.kafka_topic import is_kafka, parse_address
from pipeline.io.errors import UserError

_FLUSH_S = 60.0


class Sink(Protocol):
    """Takes slices of a log, in order."""

    def write(self, rows: pa.Table) -> None: ...

    def __enter__(self) -> Sink: ...

    def __exit__(self, *_: Any) -> None: ...


def open_sink(to: str, key: str | None) -> Sink:
    """Open 'kafka://SERVERS/TOPIC' or a folder. `key`: column of the messages' keys."""
    if is_kafka(to):
        return KafkaSink(*parse_address(to, "--to"), key)
    if "://" in to:
        raise UserError(f"--to {to}: write a local folder, or kafka://HOST:PORT/TOPIC")
    return FolderSink(Path(to))


class FolderSink:
    """One Parquet file per slice, which appears when it is complete."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if the folder cannot be created."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be created ({error.strerror})") from error
        self._folder = folder
        names = [path.stem.rpartition("-")[2] for path in folder.glob("replay-*.parquet")]
        self._number = max((int(name) for name in names if name.isdecimal()), default=0)

    def write(self, rows: pa.Table) -> None:
        """Write the next file; its number follows those in the folder."""
        self._number += 1
        path = self._folder / f"replay-{self._number:08d}.parquet"
        partial = path.with_name(f".{path.name}.partial")
        pq.write_table(rows, partial)
        partial.rename(path)

    def __enter__(self) -> FolderSink:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class KafkaSink:
    """One JSON message per row; times as text, ISO 8601."""

    def __init__(self, servers: str, topic: str, key: str | None) -> None:
        """Raises UserError if no broker answers."""
        from confluent_kafka import KafkaException, Producer

        self._topic, self._key = topic, key
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
        try:
            self._producer.list_topics(timeout=10)
        except KafkaException as error:
            raise UserError(f"kafka://{servers}: no broker answers ({error})") from error
        self._failed: str | None = None

    def write(self, rows: pa.Table) -> None:
        """Send a slice's rows. Raises UserError for messages that could not be delivered."""
        if self._key is not None and self._key not in rows.column_names:
            raise UserError(f"no column {self._key!r} for the key of messages")
        keys = [None] * len(rows) if self._key is None else rows[self._key].to_pylist()
        for key, row in zip(keys, rows.to_pylist(), strict=True):
            text = json.dumps(row, default=_text, ensure_ascii=False)
            self._send(text.encode(), None if key is None else str(key).encode())
        self._producer.poll(0)
        self._check()

    def _send(self, value: bytes, key: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
            except BufferError:  # the queue is full: wait until some are delivered
                self._producer.poll(0.1)
                self._check()
            else:
                return

    def _on_delivery(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed = str(error)

    def _check(self) -> None:
        if self._failed is not None:
            raise UserError(f"topic {self._topic!r}: a message was not delivered: {self._failed}")

    def __enter__(self) -> KafkaSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        left = self._producer.flush(_FLUSH_S if error is None else 1.0)
        if error is None:
            self._check()
            if left:
                raise UserError(f"topic {self._topic!r}: {left} messages were not delivered")


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
