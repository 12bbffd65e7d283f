"""All routes of a server."""

from __future__ import annotations

from pipeline.serving.http import change_routes as change
from pipeline.serving.http import rank_routes as ranking
from pipeline.serving.http import state_routes as state
from pipeline.serving.http.app import Route

ROUTES = (
    Route("POST", "/v1/rank", ranking.rank, "Rank candidates", "Ranking", body="RankRequest"),
    Route(
        "POST",
        "/v1/formula/preview",
        ranking.preview,
        "Rank with a formula that is not in use",
        "Ranking",
        body="Preview",
    ),
    Route("GET", "/v1/formula", change.show_formula, "The formula, and its history", "Formula"),
    Route(
        "PUT",
        "/v1/formula",
        change.change_formula,
        "Change the formula",
        "Formula",
        "admin",
        "Change",
    ),
    Route(
        "POST",
        "/v1/formula/rollback",
        change.rollback_formula,
        "Use an earlier formula again",
        "Formula",
        "admin",
        "Rollback",
    ),
    Route("GET", "/v1/model", state.model_card, "What the model is", "Object"),
    Route(
        "POST", "/v1/model/load", change.load_model, "Change the model", "Object", "admin", "Load"
    ),
    Route(
        "POST",
        "/v1/model/rollback",
        change.rollback_model,
        "Use the model before again",
        "Object",
        "admin",
    ),
    Route(
        "POST",
        "/v1/store/load",
        change.load_store,
        "Use the feature store as it is now",
        "Object",
        "admin",
    ),
    Route("GET", "/v1/samples", state.list_samples, "How many requests to try", "Object"),
    Route("GET", "/v1/samples/{number}", state.sample, "A request to try", "Object"),
    Route("GET", "/", state.console, "The console", "Page", None),
    Route("GET", "/healthz", state.health, "Whether the process lives", "Object", None),
    Route("GET", "/readyz", state.ready, "Whether requests are taken", "Object", None),
    Route("GET", "/metrics", state.metrics, "Metrics for Prometheus", "Text"),
    Route("GET", "/openapi.json", state.openapi, "This document", "Object", None),
    Route("GET", "/v2/health/live", state.live_v2, "Whether the process lives", "Object", None),
    Route("GET", "/v2/health/ready", state.ready_v2, "Whether requests are taken", "Object", None),
    Route("GET", "/v2/models/{name}", state.model_v2, "Metadata of the model", "Object"),
)
