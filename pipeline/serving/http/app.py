"""A server's state, and how a request finds its handler: an application of Granian's RSGI."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.serving.http.answers import Answer, HttpError
from pipeline.serving.http.exchange import Exchange
from pipeline.serving.http.keys import Keys, Role
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.model.formulas import Formulas
from pipeline.serving.model.served import Served
from pipeline.serving.settings import Settings
from pipeline.serving.work_queue import WorkQueue

_SECURITY = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Route:
    """What answers requests of a path."""

    method: str
    path: str
    handler: Callable[[App, Exchange], Awaitable[Answer]]
    summary: str
    answer: str
    """Name of the answer's schema (openapi.py)."""
    role: Role | None = "rank"
    """Who may; None: everybody."""
    body: str | None = None
    """Name of the body's schema."""


class App:
    """What the handlers of a server share."""

    def __init__(
        self,
        served: Served,
        formulas: Formulas,
        settings: Settings,
        keys: Keys,
        routes: Sequence[Route],
        samples: Sequence[bytes],
    ) -> None:
        self.served = served
        self.previous: Served | None = None
        """The model before the last swap."""
        self.formulas = formulas
        self.settings = settings
        self.keys = keys
        self.metrics = Metrics()
        self.work = WorkQueue(settings.threads, settings.queue, settings.deadline_ms)
        self.changes = asyncio.Lock()
        """Held while the formula or the model changes."""
        self.draining = False
        self.open_requests = 0
        self.routes = routes
        self.samples = samples
        """Requests to try."""
        self._by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            fixed, brace, _ = route.path.partition("{")
            self._by_path.setdefault(fixed + brace, {})[route.method] = route
        self.metrics.gauge("homerec_queue", "Waiting requests", lambda: self.work.waiting)
        self.metrics.gauge("homerec_running", "Requests in a thread", lambda: self.work.running)
        self.serve(served)

    def serve(self, served: Served) -> None:
        """Let a model and formula answer all requests that start from now on."""
        self.served = served
        model = served.model
        self.metrics.set_model(model.digest, model.form, served.formula_version)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer a request; never raises."""
        start = time.perf_counter()
        self.open_requests += 1
        try:
            name, answer = await self._answer(Exchange(scope, protocol, self.settings))
            headers = {**_SECURITY, "content-type": answer.type, **answer.headers}
            if self.draining:
                headers["connection"] = "close"
            body = b"" if scope.method == "HEAD" else answer.body
            protocol.response_bytes(answer.status, list(headers.items()), body)
            self.metrics.requests.labels(name, str(answer.status)).inc()
            self.metrics.seconds.labels(name).observe(time.perf_counter() - start)
        finally:
            self.open_requests -= 1

    async def _answer(self, exchange: Exchange) -> tuple[str, Answer]:
        """Return the route's name for metrics, and the answer."""
        name = "other"
        try:
            route = self._route(exchange.scope.method, exchange.scope.path)
            name = route.path
            if route.role is not None:
                self.keys.check(exchange.header("authorization"), route.role)
            return name, await route.handler(self, exchange)
        except HttpError as error:
            self.metrics.rejected.labels(error.code).inc()
            return name, error.answer()
        except Exception:  # noqa: BLE001  (a bug: logged, and the server serves on)
            sys.stderr.write(traceback.format_exc())
            self.metrics.rejected.labels("internal").inc()
            return name, HttpError(500, "internal", "a bug; the server's log has it").answer()

    def _route(self, method: str, path: str) -> Route:
        methods = self._by_path.get(path) or self._by_path.get(path.rpartition("/")[0] + "/{")
        if methods is None:
            raise HttpError(404, "not_found", f"{path}: no such path; see /openapi.json")
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(methods)
            raise HttpError(
                405,
                "method_not_allowed",
                f"{path}: takes {allowed}",
                headers={"allow": allowed},
            )
        return found
