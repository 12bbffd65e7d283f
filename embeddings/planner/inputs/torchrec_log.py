"""Silences TorchRec's log, which has a message for each option of each table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torchrec_silenced() -> Iterator[None]:
    """Log only TorchRec's errors."""
    log = logging.getLogger("torchrec")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
