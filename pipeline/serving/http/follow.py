"""Follows a published model: applies what is new beside the running model, and swaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeline.increments.follower import Follower
from pipeline.serving.http.answers import HttpError
from pipeline.serving.http.app import App
from pipeline.serving.http.change_routes import reload

_EVERY_S = 1.0
Say = Callable[[str], None]


async def follow(app: App, follower: Follower, say: Say, every_s: float = _EVERY_S) -> None:
    """Look for a newer model every `every_s` seconds; what is refused is said once."""
    tried, serving = follower.folder, follower.number
    app.metrics.gauge("homerec_model_number", "Number of the model", lambda: serving)
    app.metrics.gauge("homerec_refused_models", "Models that were refused", follower.refused.total)
    failed = ""
    while True:
        await asyncio.sleep(every_s)
        try:
            is_new = await asyncio.to_thread(follower.update)
            if is_new or follower.folder != tried:
                tried = follower.folder
                await reload(app, tried)
                serving = follower.number
                step = app.served.model.manifest.origin.step
                say(f"serving model {serving}, step {step:,}")
        except HttpError as error:
            follower.refused["unfit"] += 1
            say(f"refused (unfit): model {follower.number}: {error}")
        except Exception as error:  # noqa: BLE001  (the packages of stores share no base class)
            if (cause := str(error) or type(error).__name__) != failed:
                failed = cause
                say(f"refused: {cause}")
        else:
            failed = ""
