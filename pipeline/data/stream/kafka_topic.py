"""Cuts a topic of Kafka into windows. Needs the package confluent-kafka."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.stream.window import LogPosition, Slice, Window
from pipeline.io.errors import UserError

if TYPE_CHECKING:
    from confluent_kafka import Consumer

_ADDRESS = re.compile(r"kafka://(?P<servers>[^/]+)/(?P<topic>[^/]+)")
_TIMEOUT_S = 30.0
_SILENCE_S = 60.0
_MESSAGES = 10_000
"""Messages of one call to the client."""


def parse_address(address: str, option: str) -> tuple[str, str]:
    """Return the servers and the topic of kafka://SERVERS/TOPIC. Raises UserError, of `option`, for
    another address, and if the client is not installed."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(f"{option}: {address}: write kafka://HOST:PORT/TOPIC")
    if find_spec("confluent_kafka") is None:
        raise UserError("confluent-kafka is not installed; run 'pip install homerec[kafka]'")
    return found["servers"], found["topic"]


def is_kafka(source: str | None) -> bool:
    """Whether `source` is the address of a topic."""
    return source is not None and source.startswith("kafka:")


class KafkaTopic:
    """A topic whose messages are rows as JSON objects.

    Partitions are read by offset, as in the position; nothing is committed to Kafka, and there is
    no consumer group that would move partitions between ranks. A window has its share of the
    waiting rows of each partition, and partitions that are added later are read from their start.
    """

    def __init__(self, address: str, *, start: str = "earliest", skip_lost: bool = False) -> None:
        """Args:
            start: of partitions without a position in a new run: 'earliest' or 'latest' message.
            skip_lost: go on where Kafka has removed messages that were not read.

        Raises UserError if the address is invalid or the package is missing.
        """
        servers, self._topic = parse_address(address, "follow.source")
        from confluent_kafka import Consumer

        self._address = address
        self._start, self._skip_lost = start, skip_lost
        self._settings: dict[str, Any] = {
            "bootstrap.servers": servers,
            "group.id": "homerec",  # required by the client, and not used
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        self._open: type[Consumer] = Consumer
        self._looking: Consumer | None = None
        self._first: dict[str, int] | None = None
        self._ranges: dict[str, tuple[int, int]] = {}

    @property
    def waiting(self) -> Mapping[str, str]:
        return {}

    def look(self, position: LogPosition) -> None:
        """Ask for the offsets of all partitions. Raises UserError if messages after `position` are
        gone, or Kafka does not answer."""
        from confluent_kafka import TopicPartition

        with self._answers():
            if self._looking is None:
                self._looking = self._open(self._settings)
            topics = self._looking.list_topics(self._topic, timeout=_TIMEOUT_S).topics
            found = topics[self._topic]
            if found.error is not None:
                raise UserError(f"{self._address}: {found.error.str()}; check the topic's name")
            self._ranges = {
                str(number): self._looking.get_watermark_offsets(
                    TopicPartition(self._topic, number), timeout=_TIMEOUT_S
                )
                for number in sorted(found.partitions)
            }
        if self._first is None and not position.offsets and self._start == "latest":
            self._first = {name: high for name, (_, high) in self._ranges.items()}
        for name, offset in position.offsets.items():
            low, high = self._ranges.get(name, (0, 0))
            if offset > high:
                raise UserError(
                    f"{self._address}: partition {name} ends at offset {high}, before {offset}, to "
                    "which it has been read; it is not the same topic"
                )
            if offset < low and not self._skip_lost:
                raise UserError(
                    f"{self._address}: messages {offset} to {low - 1} of partition {name} are gone "
                    "before they were trained; to go on without them, set follow.skip_lost"
                )

    def _at(self, position: LogPosition, name: str) -> int:
        """Return the next offset of a partition."""
        low, _ = self._ranges[name]
        return max(low, position.offsets.get(name, (self._first or {}).get(name, low)))

    def available(self, position: LogPosition) -> int:
        """Return the number of offsets after `position`."""
        return sum(high - self._at(position, name) for name, (_, high) in self._ranges.items())

    def take(self, position: LogPosition, rows: int, *, number: int) -> Window | None:
        """Return the window of the next `rows` offsets; None if fewer are there."""
        total = self.available(position)
        if not 0 < rows <= total:
            return None
        at = {name: self._at(position, name) for name in self._ranges}
        waiting = {name: self._ranges[name][1] - offset for name, offset in at.items()}
        counts = {name: rows * count // total for name, count in waiting.items()}
        left = rows - sum(counts.values())
        for name in counts:
            more = min(left, waiting[name] - counts[name])
            counts[name] += more
            left -= more
        slices = tuple(
            Slice(file=name, size=0, first=at[name], rows=count)
            for name, count in counts.items()
            if count
        )
        offsets = {name: at[name] + count for name, count in counts.items()}
        after = position.model_copy(update={"offsets": offsets, "rows": position.rows + rows})
        return Window(number=number, slices=slices, after=after, lag_rows=total - rows)

    def fetch(self, window: Window, path: Path) -> bool:
        """Write the messages of a window as JSON lines, partition by partition. Safe to use from a
        thread. Raises UserError if messages are gone, or Kafka does not answer."""
        from confluent_kafka import KafkaError, TopicPartition

        ends = {int(part.file): part.first + part.rows for part in window.slices}
        starts = [TopicPartition(self._topic, int(one.file), one.first) for one in window.slices]
        values: dict[int, list[bytes]] = {partition: [] for partition in ends}
        with self._answers(), _closing(self._open(self._settings)) as consumer:
            consumer.assign(starts)
            last = time.monotonic()
            while ends:
                messages = consumer.consume(_MESSAGES, timeout=1.0)
                if messages:
                    last = time.monotonic()
                elif time.monotonic() - last > _SILENCE_S:
                    raise UserError(
                        f"{self._address}: no message in {_SILENCE_S:.0f} s; check the brokers"
                    )
                for message in messages:
                    partition, offset = message.partition(), message.offset()
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise UserError(f"{self._address}: partition {partition}: {error.str()}")
                    if partition not in ends or offset is None:
                        continue
                    if error is None and offset < ends[partition]:
                        # Between the tokens of JSON a line break is a space.
                        values[partition].append((message.value() or b"").replace(b"\n", b" "))
                    if offset + (error is None) >= ends[partition]:
                        del ends[partition]
        with path.open("wb") as lines:
            for found in values.values():
                lines.writelines(value + b"\n" for value in found)
        return True

    @contextmanager
    def _answers(self) -> Iterator[None]:
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            raise UserError(f"{self._address}: no answer ({error}); check the brokers") from error


@contextmanager
def _closing(consumer: Consumer) -> Iterator[Consumer]:
    try:
        yield consumer
    finally:
        consumer.close()
