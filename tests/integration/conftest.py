"""Data that integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.prepare.synthetic import prepare_synthetic


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared folder of planted impressions."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=8_000, seed=3)
    return folder
