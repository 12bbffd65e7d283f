"""Settings of a server: where it listens, its limits, and who may use it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a server listens, and its limits."""

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Threads that score."""
    queue: int = 64
    """Requests that wait for a thread; more are answered with 429."""
    deadline_ms: int = 1000
    """A request that takes longer is answered with 504."""
    max_body_bytes: int = 8 << 20
    max_candidates: int = 10_000
    max_list: int = 10_000
    """Values of a list in a request or in the store."""
    read_timeout_ms: int = 10_000
    """For the headers, and for the body of a request."""
    max_connections: int = 4096
    """More wait to be accepted."""
    drain_ms: int = 10_000
    """Time for open requests after SIGTERM."""
    store: Path | None = None
    """Folder of a feature store."""
    state: Path | None = None
    """File that keeps the ranking formula over restarts; None: it is not kept."""
    sample: Path | None = None
    """Files of a table whose rows make requests to try."""
    watch: bool = False
    """Whether to load the model folder again when it has changed."""
