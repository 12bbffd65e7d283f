"""TorchRec logs a remark on each option of each table; none of them is for a user."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torchrec_silenced() -> Iterator[None]:
    """Only TorchRec's errors are logged."""
    log = logging.getLogger("torchrec")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
