"""Loads the model folder again when it has changed, or when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from pipeline.scoring.manifest import NAME
from pipeline.serving.http.answers import HttpError
from pipeline.serving.http.app import App
from pipeline.serving.http.change_routes import reload

_EVERY_S = 1.0


async def watch(app: App, hangup: asyncio.Event, say: Callable[[str], None]) -> None:
    """Reload whenever `hangup` is set and, with `settings.watch`, for another manifest."""
    folder = app.served.model.folder
    seen = _version(folder)
    while True:
        try:
            async with asyncio.timeout(_EVERY_S if app.settings.watch else None):
                await hangup.wait()
        except TimeoutError:
            if _version(folder) == seen:
                continue
        hangup.clear()
        seen = _version(folder)
        try:
            await reload(app, folder)
        except HttpError as error:
            say(f"refused: {error}")
        else:
            say(f"serving {folder}, digest {app.served.model.digest[:12]}")


def _version(folder: Path) -> tuple[int, int] | None:
    """Return what changes when a manifest is replaced; None while there is none."""
    try:
        found = (folder / NAME).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
