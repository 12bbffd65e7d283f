"""Seconds from an event in Kafka to the first answer that has learnt from it, on this machine.

    python -m benchmarks.freshness [--rate 500] [--seconds 120] [--window-seconds 5]

Starts a broker (librdkafka's mock cluster), a trainer that follows its topic, a publisher, a server
that follows what is published, and a client that asks it 20 times a second. The log is made up; a
model has first been trained on 30,000 of its rows. An event counts from when it is sent to the
first answer of a model that was trained on it. Needs confluent-kafka (make setup-dev).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from benchmarks.freshness.made_up_log import MadeUpLog
from benchmarks.freshness.measure import Answered, Sent, freshness
from benchmarks.freshness.processes import run, running

_FIRST_ROWS = 30_000
_TICK_S = 0.05
_LAST_S = 120.0
"""Longest wait for the last events."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=500, help="events per second")
    parser.add_argument("--seconds", type=float, default=120, help="seconds of events")
    parser.add_argument("--window-seconds", type=float, default=5, help="of training windows")
    parser.add_argument("--port", type=int, default=8790, help="of the server")
    parser.add_argument("--out", type=Path, default=Path("runs/freshness"), help="replaced")
    args = parser.parse_args()
    out: Path = args.out
    shutil.rmtree(out, ignore_errors=True)
    (out / "log").mkdir(parents=True)
    log = MadeUpLog(seed=0)
    log.draw(_FIRST_ROWS).write_parquet(out / "log" / "first.parquet")
    config = ["--config", str(out / "run.yaml"), "--out", str(out / "run")]
    config += ["--data.path", str(out / "data")]
    say("training on the first rows")
    words = [str(out / "log"), "--labels", "click,like", "--user", "user", "--time", "ts"]
    run(["init", *words, "--out", str(out / "run.yaml")], out / "train.log")
    run(["train", *config], out / "train.log")

    mock = {"bootstrap.servers": "mock", "test.mock.num.brokers": 1}
    broker = Producer({**mock, "linger.ms": 5, "log_level": 3})
    node = next(iter(broker.list_topics(timeout=10).brokers.values()))
    broker.list_topics("log", timeout=10)
    train = ["train", *config, "--resume", "--follow", "--schedule.decay", "constant"]
    train += ["--follow.source", f"kafka://{node.host}:{node.port}/log"]
    train += ["--follow.window_minutes", str(args.window_seconds / 60)]
    train += ["--follow.poll_seconds", "0.2", "--train.batch_size", "256"]
    publish = ["publish", "--run", str(out / "run"), "--to", str(out / "published")]
    serve = ["serve", "--follow", str(out / "published"), "--work", str(out / "served")]
    serve += ["--port", str(args.port), "--sample", str(out / "log")]
    serve += ["--deadline-ms", "10000"]  # the trainer takes the cores, too
    run(publish, out / "publish.log")
    with (
        running(train, out / "follow.log"),
        running([*publish, "--every", "0.01"], out / "publish.log"),
        running(serve, out / "serve.log"),
    ):
        client = Client(args.port)
        client.wait()
        say(f"sending {args.rate} events per second for {args.seconds:.0f} s")
        asking = threading.Thread(target=client.ask, daemon=True)
        asking.start()
        sent = send(broker, log, args.rate, args.seconds)
        end = time.monotonic() + _LAST_S
        while time.monotonic() < end and client.rows(out) < sent[-1].rows - 256:
            time.sleep(_TICK_S)
        client.stop.set()
        asking.join()
    answered = [Answered(when, rows_at(out, step)) for when, step in client.steps]
    seconds = freshness(sent, answered)
    if not len(seconds):
        raise SystemExit(f"no answer has learnt from an event; see {out}/*.log")
    median, p99 = np.quantile(seconds, [0.5, 0.99])
    say(
        f"freshness: median {median:.1f} s, p99 {p99:.1f} s, of {len(seconds):,} of "
        f"{sent[-1].rows:,} events at {args.rate} per second"
    )
    say(f"{len(client.steps) - 1} models came; {client.answers:,} answers, {client.lost} lost")
    result = {"median_s": median, "p99_s": p99, "events": len(seconds), "rate": args.rate}
    result |= {"answers": client.answers, "lost": client.lost}
    (out / "freshness.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


def send(broker: Producer, log: MadeUpLog, rate: int, seconds: float) -> list[Sent]:
    """Send events at a constant rate; returns when which were sent."""
    start, rows = time.monotonic(), 0
    sent: list[Sent] = []
    while (now := time.monotonic()) < start + seconds:
        new = int((now - start) * rate) - rows
        for line in log.draw(new).write_ndjson().splitlines() if new else ():
            broker.produce("log", line.encode())
        broker.poll(0)
        if new:
            rows += new
            sent.append(Sent(now, rows))
        time.sleep(_TICK_S)
    broker.flush(10)
    return sent


def rows_at(out: Path, step: int) -> int:
    """Return the events that the trainer had learnt from at a step: those of whole windows."""
    rows = 0
    for line in (out / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        one: dict[str, Any] = json.loads(line)
        if one.get("kind") == "window" and one["step"] <= step:
            rows = max(rows, one["all_rows"])
    return rows


class Client:
    """Asks a server again and again, and notes the first answer of each model."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._digest = ""
        self.steps: list[tuple[float, int]] = []
        """When a model answered first, and its step."""
        self.answers = self.lost = 0
        self.stop = threading.Event()

    def wait(self, seconds: float = 60) -> None:
        """Wait until the server is ready."""
        end = time.monotonic() + seconds
        while True:
            try:
                self._get("/readyz")
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > end:
                    raise
                time.sleep(_TICK_S)
            else:
                return

    def ask(self) -> None:
        """Ask until told to stop."""
        bodies = [self._get(f"/v1/samples/{number}") for number in range(10)]
        while not self.stop.wait(_TICK_S):
            body = bodies[self.answers % len(bodies)]
            kind = {"content-type": "application/json"}
            request = urllib.request.Request(f"{self._address}/v1/rank", body, kind)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    digest = json.loads(response.read())["model"]
            except OSError as error:  # no connection, no answer in time, or an error
                self.lost += 1
                say(f"no answer: {error}")
                continue
            now = time.monotonic()
            self.answers += 1
            if digest != self._digest:
                card = json.loads(self._get("/v1/model"))
                if card["digest"] == digest:  # else another one was swapped in meanwhile
                    self.steps.append((now, card["step"]))
                    self._digest = digest

    def rows(self, out: Path) -> int:
        """Return the events that the last model has learnt from."""
        return rows_at(out, self.steps[-1][1]) if self.steps else 0

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self._address + path, timeout=10) as response:
            found: bytes = response.read()
            return found


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
