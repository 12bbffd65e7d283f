"""The OpenAPI document: routes, and bodies with the columns of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.serving.http.answers import ARROW, JSON
from pipeline.serving.http.app import Route
from pipeline.serving.http.metrics import TYPE
from pipeline.serving.model.served import Served

_REF = "#/components/schemas/"
_NUMBER = {"type": ["number", "null"]}
_ERRORS = {
    400: "The body is malformed",
    401: "A key is missing",
    403: "The key does not have the role",
    404: "There is no such thing",
    405: "The path does not take this method",
    408: "The body was too slow",
    409: "Refused, with the reason; nothing has changed",
    413: "The body is too large, or has too many candidates",
    415: "The body is of a type that is not read",
    422: "A value has no meaning; `field` names it",
    429: "Too many requests; see retry-after",
    503: "The server is about to stop",
    504: "The deadline has passed",
}


def document(routes: Sequence[Route], served: Served, *, keys: bool) -> dict[str, Any]:
    """Return the document of a server with this model."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, keys=keys)
    return {
        "openapi": "3.1.0",
        "info": {"title": "homerec", "version": "1", "summary": "Ranks candidates"},
        "paths": paths,
        "components": {
            "schemas": _schemas(served),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, *, keys: bool) -> dict[str, Any]:
    plain = {"Text": TYPE, "Page": "text/html; charset=utf-8"}
    content = {plain[route.answer]: {}} if route.answer in plain else {JSON: _ref(route.answer)}
    arrow = {ARROW: {"schema": {"type": "string", "format": "binary"}}}
    ranks = route.body == "RankRequest"
    responses: dict[str, Any] = {
        "200": {"description": route.summary, "content": {**content, **(arrow if ranks else {})}}
    }
    for status in _statuses(route):
        responses[str(status)] = {"description": _ERRORS[status], "content": {JSON: _ref("Error")}}
    found: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__name__,
        "responses": responses,
    }
    if route.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {JSON: _ref(route.body), **(arrow if ranks else {})},
        }
    if "{" in route.path:
        name = route.path.partition("{")[2].rstrip("}")
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    if keys and route.role is not None:
        found["security"] = [{"key": []}]
    return found


def _statuses(route: Route) -> list[int]:
    """Return the errors that a route may answer with."""
    found = {405}
    if route.role is not None:
        found |= {401, 403, 429}
    if route.role == "admin":
        found |= {409}
    if route.body is not None:
        found |= {400, 408, 413, 415, 422}
    if route.answer == "Ranking":
        found |= {504}
    if "ready" in route.path:
        found |= {503}
    if "{" in route.path or "rollback" in route.path:
        found |= {404}
    return sorted(found)


def _ref(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": _REF + name}}


def _schemas(served: Served) -> dict[str, Any]:
    # Imported here: they import the application, whose routes this module describes.
    from pipeline.serving.http.change_routes import Change, Load, Rollback

    types = [served.json.type, Change, Load, Rollback]
    _, found = msgspec.json.schema_components(types, ref_template=_REF + "{name}")
    tasks = {task: {"type": "array", "items": _NUMBER} for task in served.model.tasks}
    texts = {"type": "string"}
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    return {
        **found,
        "RankRequest": {**found["RankRequest"], "oneOf": _either("candidates", "columns")},
        "Preview": {
            "type": "object",
            "properties": {"formula": texts, "request": {"$ref": _REF + "RankRequest"}},
            "required": ["formula", "request"],
            "additionalProperties": False,
        },
        "Ranking": {
            "type": "object",
            "properties": {
                "model": texts,
                "formula_version": {"type": "integer"},
                "id": {"type": "array"},
                "probabilities": {"type": "object", "properties": tasks, "required": list(tasks)},
                "score": {"type": "array", "items": _NUMBER},
                "order": {"type": "array", "items": {"type": "integer"}},
                "unknown_ids": counts,
                "missing_keys": counts,
            },
            "required": ["model", "formula_version", "probabilities", "score", "unknown_ids"],
        },
        "Formula": {
            "type": "object",
            "properties": {"version": {"type": "integer"}, "formula": texts},
            "required": ["version", "formula", "tasks", "history"],
        },
        "Object": {"type": "object"},
        "Error": {
            "type": "object",
            "properties": {
                "error": {
                    "type": "object",
                    "properties": {
                        "code": texts,
                        "message": texts,
                        "field": {"type": ["string", "null"]},
                    },
                    "required": ["code", "message", "field"],
                }
            },
            "required": ["error"],
        },
    }


def _either(*names: str) -> list[dict[str, Any]]:
    return [{"required": [name]} for name in names]
