"""A server that watches its files reloads what was replaced, and nothing that a request changed."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from pipeline.scoring.manifest import NAME
from pipeline.serving.http.app import App
from pipeline.serving.http.change_routes import reload, reload_store, rollback_model
from pipeline.serving.http.keys import Keys
from pipeline.serving.http.watch import Seen
from pipeline.serving.settings import Settings
from pipeline.serving.start import open_app
from tests.pipeline.serving.test_store import ITEMS, fill


@pytest.fixture
def folders(model_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of a model."""
    for name in ("first", "second"):
        shutil.copytree(model_folder, tmp_path / name)
    return tmp_path / "first", tmp_path / "second"


def open_watching(folder: Path, store: Path | None = None) -> App:
    return open_app(folder, Settings(threads=1, watch=True, store=store), Keys(()))


def replaced(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def test_a_model_that_was_loaded_by_request_is_no_change(folders: tuple[Path, Path]) -> None:
    first, second = folders
    app = open_watching(first)
    before, seen = app.served.model, Seen(app)
    asyncio.run(reload(app, second))
    assert seen.changed() == (False, False)
    replaced(first / NAME)
    assert seen.changed() == (False, False)
    replaced(second / NAME)
    assert seen.changed() == (True, False)
    assert seen.changed() == (False, False)
    asyncio.run(reload(app, None))  # the same model again
    assert app.previous is not None
    assert app.previous.model is before
    asyncio.run(rollback_model(app, exchange=None))  # type: ignore[arg-type]  # not read
    assert app.served.model is before
    assert seen.changed() == (False, False)


def test_a_rollback_keeps_the_store(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = folders
    store = tmp_path / "store"
    fill(first, ITEMS, "sku", store)
    app = open_watching(first, store)
    seen = Seen(app)
    asyncio.run(reload(app, second))
    fill(first, ITEMS.head(3), "sku", store)
    assert seen.changed() == (False, True)
    asyncio.run(reload_store(app))
    asyncio.run(rollback_model(app, exchange=None))  # type: ignore[arg-type]  # not read
    assert app.served.model.folder == first
    assert app.served.store is not None
    assert [file.rows for file in app.served.store.files] == [3]
    assert app.served.json.columns.keys() >= {"sku"}
