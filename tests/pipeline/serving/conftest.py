"""A server of the exported model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.serving.client import Client, running


@pytest.fixture(scope="session")
def client(model_folder: Path) -> Iterator[Client]:
    with running(model_folder, deadline_ms=60_000) as client:
        yield client
