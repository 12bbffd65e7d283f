"""Loads the model folder and the feature store again when they have changed, or when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from pipeline.scoring.manifest import NAME
from pipeline.serving.http.answers import HttpError
from pipeline.serving.http.app import App
from pipeline.serving.http.change_routes import reload, reload_store

_EVERY_S = 1.0
Say = Callable[[str], None]
_Version = tuple[int, int] | None
"""What changes when a file is replaced; None while there is none."""


class Seen:
    """The files of a server's model and store, as they were when last looked at."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._look()

    def changed(self) -> tuple[bool, bool]:
        """Whether the running model's files were replaced, and the store's, since the last look.

        Another folder, which was loaded or rolled back to by request, is no change.
        """
        folder, model, store = self._folder, self._model, self._store
        self._look()
        return self._folder == folder and self._model != model, self._store != store

    def _look(self) -> None:
        self._folder = self._app.served.model.folder
        self._model = _version(self._folder / NAME)
        folder = self._app.settings.store
        paths = [] if folder is None else sorted(folder.glob("[!.]*.mdb"))
        self._store = [(path, _version(path)) for path in paths]


async def watch(app: App, hangup: asyncio.Event, say: Say) -> None:
    """Reload whenever `hangup` is set and, with `settings.watch`, what has changed."""
    seen = Seen(app)
    while True:
        try:
            async with asyncio.timeout(_EVERY_S if app.settings.watch else None):
                await hangup.wait()
        except TimeoutError:
            pass
        told = hangup.is_set()
        hangup.clear()
        model, store = seen.changed()
        reopen = app.settings.store is not None and (told or store)
        if reopen and await _try(reload_store(app), say):
            say(f"serving the store {app.settings.store}")
        if (told or model) and await _try(reload(app, None), say):
            running = app.served.model
            say(f"serving {running.folder}, digest {running.digest[:12]}")


async def _try(change: Awaitable[None], say: Say) -> bool:
    """Whether a change was made; if it is refused, all serves on as before."""
    try:
        await change
    except (HttpError, OSError, RuntimeError) as error:
        say(f"refused: {error}")
        return False
    return True


def _version(path: Path) -> _Version:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
