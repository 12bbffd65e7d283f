"""Finds what a server can do: from light load to more than it can answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.io.errors import UserError
from pipeline.scoring.model import ExportedModel
from pipeline.serving.bench.open_loop import Outcome, offer, saturate
from pipeline.serving.rank.read_json import JsonReader
from pipeline.serving.rank.request import Limits
from pipeline.serving.rank.samples import sample_requests

SHARES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1)
"""Of the rankings per second that clients get who wait for their answers."""
_REQUESTS = 20
_KEPT_UP = 0.95
_SLOWER = 10
"""p99 beyond this many medians of the lightest load is past the knee."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured."""

    candidates: int
    start_s: float
    """From the command to the first answer of /readyz."""
    capacity: float
    """Rankings per second in a closed loop."""
    outcomes: tuple[Outcome, ...]
    ms: dict[str, float]
    """CPU time of scoring a request in one thread, in milliseconds, by form of the tower."""

    @property
    def knee(self) -> int | None:
        """Number of the largest load that the server kept up with; None: it never did."""
        unloaded = self.outcomes[0].ms(50)
        found = None
        for number, one in enumerate(self.outcomes):
            kept = one.completed >= _KEPT_UP * one.offered and set(one.statuses) == {200}
            if not kept or one.ms(99) > _SLOWER * unloaded:
                break
            found = number
        return found


def bench(
    model: Path,
    rows: Path,
    *,
    candidates: int,
    seconds: float,
    seed: int,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Bench:
    """Start a server of a model, and measure it with requests made of the rows of a table.

    Raises UserError if the model or the rows cannot be read.
    """
    loaded = ExportedModel.load(model)
    reader = JsonReader(loaded.inputs, Limits(candidates))
    bodies = sample_requests(reader.inputs, rows, _REQUESTS, candidates, seed)
    ms = {form: _ms(model, form, bodies[0]) for form in ("eager", "export") if _has(loaded, form)}
    ms[loaded.form] = _ms(model, loaded.form, bodies[0])
    with _server(model, candidates) as (port, start_s):
        asyncio.run(saturate(port, bodies, 2, seconds / 4))
        clients = 2 * len(os.sched_getaffinity(0))
        capacity = asyncio.run(saturate(port, bodies, clients, seconds))
        outcomes = []
        for number, share in enumerate(SHARES):
            load = max(share * capacity, 10 / seconds)
            outcomes.append(asyncio.run(offer(port, bodies, load, seconds, seed + number)))
            progress(outcomes[-1])
    return Bench(candidates, start_s, capacity, tuple(outcomes), ms)


def _has(model: ExportedModel, form: str) -> bool:
    return form == "export" or model.manifest.tower is not None


def _ms(folder: Path, form: str, body: bytes, times: int = 10) -> float:
    """Return the CPU time of scoring a request in one thread, in milliseconds."""
    torch.set_num_threads(1)
    model = ExportedModel.load(folder, form=form, verify=False)  # type: ignore[arg-type]
    request = JsonReader(model.inputs, Limits(10**6)).read(body)
    taken = []
    for _ in range(times + 1):
        start = time.thread_time()
        if request.shared.num_columns:
            model.score_request(request.shared, request.items)
        else:
            model.score(request.items)
        taken.append(time.thread_time() - start)
    return 1e3 * sorted(taken[1:])[times // 2]


@contextmanager
def _server(model: Path, candidates: int) -> Iterator[tuple[int, float]]:
    """Start a server; returns its port, and the seconds until it was ready."""
    command = [sys.executable, "-m", "launchers.cli", "serve", "--model", str(model), "--port", "0"]
    command += [
        "--max-candidates",
        str(candidates),
        "--max-body-mb",
        "1000",
        "--deadline-ms",
        "60000",
    ]
    start = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        took = time.perf_counter() - start
        if not line.startswith("serving "):
            raise UserError(f"{model}: the server did not start; see above")
        yield int(line.rpartition(":")[2]), took
    finally:
        server.terminate()
        server.wait()


def rows_of(found: Bench) -> list[Sequence[str]]:
    """Return the cells of the table: load, completed, percentiles, errors, the knee."""
    rows: list[Sequence[str]] = []
    for number, one in enumerate(found.outcomes):
        errors = sum(count for status, count in one.statuses.items() if status != 200)
        cells = [f"{one.offered:.1f}", f"{one.completed:.1f}"]
        cells += [f"{one.ms(share):.1f}" for share in (50, 95, 99)]
        rows.append([*cells, f"{errors}", "knee" if number == found.knee else ""])
    return rows
