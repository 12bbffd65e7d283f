"""Loads the model folder again when it has changed, or when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from pipeline.scoring.manifest import NAME
from pipeline.serving.http.answers import HttpError
from pipeline.serving.http.app import App
from pipeline.serving.http.change_routes import reload, reload_store

_EVERY_S = 1.0


async def watch(app: App, hangup: asyncio.Event, say: Callable[[str], None]) -> None:
    """Reload whenever `hangup` is set and, with `settings.watch`, for another manifest or store."""
    folder = app.served.model.folder
    seen = _versions(app, folder)
    while True:
        try:
            async with asyncio.timeout(_EVERY_S if app.settings.watch else None):
                await hangup.wait()
        except TimeoutError:
            if app.served.model.folder == folder and _versions(app, folder) == seen:
                continue
        hangup.clear()
        folder = app.served.model.folder  # another one may have been loaded by request
        seen = _versions(app, folder)
        try:
            if app.settings.store is not None:
                await reload_store(app)
            await reload(app, folder)
        except (HttpError, OSError, RuntimeError) as error:
            say(f"refused: {error}")
        else:
            say(f"serving {folder}, digest {app.served.model.digest[:12]}")


def _versions(app: App, folder: Path) -> list[tuple[int, int] | None]:
    store = [] if app.settings.store is None else sorted(app.settings.store.glob("[!.]*.mdb"))
    return [_version(path) for path in (folder / NAME, *store)]


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
