"""Open-loop load: requests arrive when a schedule says so, whether or not others are answered.

Latency counts from the scheduled arrival, so that a server that falls behind cannot hide it
(coordinated omission).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.scoring.formula import Float64Array

_HEADER = (
    "POST /v1/rank HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    "content-length: {}\r\n\r\n"
)
_LOST = 0
"""Status of a request whose connection ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests of one load."""

    offered: float
    """Requests per second that were sent."""
    seconds: float
    """From the first arrival to the last answer."""
    latencies: Float64Array
    """Seconds of the requests that were ranked."""
    statuses: Counter[int]

    @property
    def completed(self) -> float:
        """Rankings per second."""
        return len(self.latencies) / self.seconds

    def ms(self, percentile: float) -> float:
        """Return a percentile of the latencies in milliseconds; NaN without any."""
        return (
            float(np.percentile(self.latencies, percentile)) * 1e3
            if len(self.latencies)
            else np.nan
        )


async def offer(
    port: int, bodies: Sequence[bytes], per_second: float, seconds: float, seed: int
) -> Outcome:
    """Send requests for some seconds, with exponential gaps (Poisson arrivals)."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / per_second, max(2, round(per_second * seconds)))
    arrivals = np.cumsum(gaps)
    messages = [_HEADER.format(len(body)).encode() + body for body in bodies]
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one(number: int, due: float) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        writer.write(messages[number % len(messages)])
        try:
            status = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            statuses[_LOST] += 1
            writer.close()
            return
        statuses[status] += 1
        if status == 200:
            latencies.append(loop.time() - due)
        idle.append((reader, writer))

    tasks = []
    for number, arrival in enumerate(arrivals):
        due = start + float(arrival)
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.append(loop.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    took = loop.time() - start
    for _, writer in idle:
        writer.close()
    return Outcome(len(arrivals) / float(arrivals[-1]), took, np.array(latencies), statuses)


async def saturate(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> float:
    """Return the rankings per second of clients that send one request after the other."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = bodies[number % len(bodies)]
        while loop.time() < end:
            writer.write(_HEADER.format(len(body)).encode() + body)
            done += await _answer(reader) == 200
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return done / seconds


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read a response; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(line for line in lines if line.startswith("content-length:"))
    await reader.readexactly(int(length.partition(":")[2]))
    return int(lines[0].split(" ")[1])
