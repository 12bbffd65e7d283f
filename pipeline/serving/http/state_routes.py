"""Health, metrics, what the model is, and the description of all routes."""

from __future__ import annotations

from pipeline.serving.console.page import page
from pipeline.serving.http.answers import Answer, HttpError, json_answer
from pipeline.serving.http.app import App
from pipeline.serving.http.exchange import Exchange
from pipeline.serving.http.metrics import TYPE
from pipeline.serving.http.openapi import document
from pipeline.serving.model.card import card, metadata, name


async def health(app: App, exchange: Exchange) -> Answer:
    """Answer while the process lives."""
    return json_answer({"status": "ok"})


async def ready(app: App, exchange: Exchange) -> Answer:
    """Answer while the server takes requests. Raises HttpError 503 when it is about to stop."""
    if app.draining:
        raise HttpError(503, "draining", "this server is about to stop")
    return json_answer({"status": "ready"})


async def live_v2(app: App, exchange: Exchange) -> Answer:
    """Answer as the Open Inference Protocol asks."""
    return json_answer({"live": True})


async def ready_v2(app: App, exchange: Exchange) -> Answer:
    """As `ready`, for the Open Inference Protocol."""
    await ready(app, exchange)
    return json_answer({"ready": True})


async def metrics(app: App, exchange: Exchange) -> Answer:
    """Return all metrics."""
    return Answer(app.metrics.text(), type=TYPE)


async def model_card(app: App, exchange: Exchange) -> Answer:
    """Return what the model is."""
    return json_answer(card(app.served))


async def model_v2(app: App, exchange: Exchange) -> Answer:
    """Return the Open Inference Protocol's metadata of the model."""
    asked = exchange.scope.path.rpartition("/")[2]
    if asked != name(app.served):
        raise HttpError(404, "not_found", f"model {asked!r}: this server has {name(app.served)!r}")
    return json_answer(metadata(app.served))


async def list_samples(app: App, exchange: Exchange) -> Answer:
    """Return how many requests there are to try."""
    return json_answer({"count": len(app.samples)})


async def sample(app: App, exchange: Exchange) -> Answer:
    """Return a request to try."""
    asked = exchange.scope.path.rpartition("/")[2]
    if not (asked.isascii() and asked.isdigit() and int(asked[:9]) < len(app.samples)):
        raise HttpError(404, "not_found", f"sample {asked!r}: there are {len(app.samples)}, from 0")
    return Answer(app.samples[int(asked)])


async def console(app: App, exchange: Exchange) -> Answer:
    """Return the page for people."""
    text, policy = page()
    return Answer(
        text, type="text/html; charset=utf-8", headers={"content-security-policy": policy}
    )


async def openapi(app: App, exchange: Exchange) -> Answer:
    """Return the OpenAPI document of this server, for the columns of its model."""
    return json_answer(document(app.routes, app.served, keys=bool(app.keys)))
