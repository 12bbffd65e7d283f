"""Changes of the formula and the model, for admins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.serving.http.answers import Answer, HttpError, json_answer
from pipeline.serving.http.app import App
from pipeline.serving.http.decode import decode
from pipeline.serving.http.exchange import Exchange
from pipeline.serving.http.rank_routes import parsed
from pipeline.serving.model.card import card
from pipeline.serving.model.served import Served
from pipeline.serving.model.swap import load_beside


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a change of the formula."""

    formula: str


class Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a rollback; without a version: to the formula before."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class Load(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a change of the model; without a path: the same folder again."""

    path: str | None = None


_CHANGE, _ROLLBACK, _LOAD = map(msgspec.json.Decoder, (Change, Rollback, Load))


async def show_formula(app: App, exchange: Exchange) -> Answer:
    """Return the formula in use, and those before it."""
    current = app.formulas.current
    history = [
        {"version": one.version, "formula": one.formula, "time": one.time, "source": one.source}
        for one in app.formulas.history
    ]
    return json_answer(
        {
            "version": current.version,
            "formula": current.formula,
            "tasks": app.served.model.tasks,
            "history": history,
        }
    )


async def change_formula(app: App, exchange: Exchange) -> Answer:
    """Take a formula into use."""
    given = decode(_CHANGE, await exchange.json_body())
    async with app.changes:
        _use(app, parsed(given.formula, app.served))
    return await show_formula(app, exchange)


async def rollback_formula(app: App, exchange: Exchange) -> Answer:
    """Take a formula of the history into use again."""
    given = decode(_ROLLBACK, await exchange.json_body())
    async with app.changes:
        formulas = app.formulas
        found = formulas.previous if given.version is None else formulas.find(given.version)
        if found is None:
            raise HttpError(409, "no_previous", "the formula was never changed")
        _use(app, parsed(found.formula, app.served))
    return await show_formula(app, exchange)


async def load_model(app: App, exchange: Exchange) -> Answer:
    """Load a model folder beside the running model, and let it take its place."""
    given = decode(_LOAD, await exchange.json_body())
    await reload(app, None if given.path is None else Path(given.path))
    return json_answer(card(app.served))


async def rollback_model(app: App, exchange: Exchange) -> Answer:
    """Let the model before the last change serve again."""
    async with app.changes:
        if app.previous is None:
            raise HttpError(409, "no_previous", "the model was never changed")
        served = app.previous.with_store(app.served.store)
        if app.formulas.current.source == "changed":
            served = served.with_formula(
                parsed(app.formulas.formula, served), app.formulas.current.version
            )
        _swap(app, served)
    return json_answer(card(app.served))


async def load_store(app: App, exchange: Exchange) -> Answer:
    """Open the files of the feature store again."""
    await reload_store(app)
    store = app.served.store
    assert store is not None
    return json_answer({"keys": {file.key: file.rows for file in store.files}})


async def reload_store(app: App) -> None:
    """Use the feature store as it is now. Raises HttpError 409."""
    async with app.changes:
        if app.settings.store is None:
            raise HttpError(409, "no_store", "this server has no store; start it with --store")
        try:
            served = await asyncio.to_thread(app.served.open_store, app.settings.store)
        except UserError as error:
            raise HttpError(409, "store_refused", f"{error}; the store before serves on") from error
        app.serve(served)


async def reload(app: App, folder: Path | None) -> None:
    """Load a folder (None: that of the running model) and swap. Raises HttpError 409."""
    async with app.changes:
        running = app.served
        _swap(
            app,
            await asyncio.to_thread(
                load_beside,
                folder or running.model.folder,
                running,
                app.settings.threads,
                app.formulas,
            ),
        )


def _use(app: App, formula: Formula) -> None:
    app.formulas.change(formula.text)
    app.serve(app.served.with_formula(formula, app.formulas.current.version))


def _swap(app: App, served: Served) -> None:
    if app.formulas.current.source == "model":
        app.formulas.follow_model(served.formula.text)
        served = served.with_formula(served.formula, app.formulas.current.version)
    before, after = app.served.model, served.model
    # A rollback after the same model was loaded again returns to the one before it, too.
    if (before.folder, before.digest) != (after.folder, after.digest):
        app.previous = app.served
    app.serve(served)
