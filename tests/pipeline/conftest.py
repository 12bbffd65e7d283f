"""A trained run, and its model folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.api import Model
from pipeline.export.export import export
from tests.pipeline.exported import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def model_folder(trained: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export(trained.folder, out, compile_tower="off")
    return out
