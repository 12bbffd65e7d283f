"""The routes of a server, as an application of Granian's RSGI interface."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipeline.serving.http.answers import ARROW, JSON, Answer, HttpError, json_answer
from pipeline.serving.http.exchange import Exchange
from pipeline.serving.http.keys import Keys, Role
from pipeline.serving.http.metrics import TYPE as METRICS_TYPE
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.model.served import Served
from pipeline.serving.settings import Settings
from pipeline.serving.work_queue import WorkQueue

Handler = Callable[[Exchange], Awaitable[Answer]]
_SECURITY = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a path, and the role that it takes; None: everybody."""

    handler: Handler
    role: Role | None = "rank"


class App:
    """A server's state and routes."""

    def __init__(self, served: Served, settings: Settings, keys: Keys) -> None:
        self.served = served
        self.settings = settings
        self.keys = keys
        self.metrics = Metrics()
        self.work = WorkQueue(settings.threads, settings.queue, settings.deadline_ms)
        self.draining = False
        self.open_requests = 0
        self.routes: dict[str, dict[str, Route]] = {
            "/healthz": {"GET": Route(self._health, None)},
            "/readyz": {"GET": Route(self._ready, None)},
            "/metrics": {"GET": Route(self._metrics)},
            "/v1/rank": {"POST": Route(self._rank)},
        }
        self.metrics.gauge("homerec_queue", "Waiting requests", lambda: self.work.waiting)
        self.metrics.gauge("homerec_running", "Requests in a thread", lambda: self.work.running)
        self._show_model()

    def replace(self, served: Served) -> None:
        """Let another model or formula answer all requests that start from now on."""
        self.served = served
        self._show_model()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer a request; never raises."""
        start = time.perf_counter()
        self.open_requests += 1
        try:
            route, answer = await self._answer(Exchange(scope, protocol, self.settings))
            headers = {**_SECURITY, "content-type": answer.type, **answer.headers}
            if self.draining:
                headers["connection"] = "close"
            body = b"" if scope.method == "HEAD" else answer.body
            protocol.response_bytes(answer.status, list(headers.items()), body)
            self.metrics.requests.labels(route, str(answer.status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)
        finally:
            self.open_requests -= 1

    async def _answer(self, exchange: Exchange) -> tuple[str, Answer]:
        """Return the route's name for metrics, and the answer."""
        path = exchange.scope.path
        methods = self.routes.get(path)
        name = "other" if methods is None else path
        try:
            if methods is None:
                raise HttpError(404, "not_found", f"{path}: no such path; see /openapi.json")
            method = "GET" if exchange.scope.method == "HEAD" else exchange.scope.method
            if method not in methods:
                allowed = ", ".join(methods)
                raise HttpError(
                    405,
                    "method_not_allowed",
                    f"{path}: takes {allowed}",
                    headers={"allow": allowed},
                )
            route = methods[method]
            if route.role is not None:
                self.keys.check(exchange.header("authorization"), route.role)
            return name, await route.handler(exchange)
        except HttpError as error:
            self.metrics.rejected.labels(error.code).inc()
            return name, error.answer()
        except Exception:  # noqa: BLE001  (a bug: logged, and the server serves on)
            sys.stderr.write(traceback.format_exc())
            self.metrics.rejected.labels("internal").inc()
            return name, HttpError(500, "internal", "a bug; the server's log has it").answer()

    async def _health(self, exchange: Exchange) -> Answer:
        return json_answer({"status": "ok"})

    async def _ready(self, exchange: Exchange) -> Answer:
        if self.draining:
            raise HttpError(503, "draining", "this server is about to stop")
        return json_answer({"status": "ready"})

    async def _metrics(self, exchange: Exchange) -> Answer:
        return Answer(self.metrics.text(), type=METRICS_TYPE)

    async def _rank(self, exchange: Exchange) -> Answer:
        kind = exchange.require_type(JSON, ARROW)
        body = await exchange.body()
        accept = exchange.header("accept") or "*/*"
        wanted = next((one for one in (ARROW, JSON) if one in accept), kind)
        content, ranking = await self.work.run(lambda: self.served.answer(body, kind, wanted))
        self.metrics.candidates.inc(len(ranking.score))
        self.metrics.count_unknown(ranking.unknown)
        return Answer(content, type=wanted)

    def _show_model(self) -> None:
        model = self.served.model
        self.metrics.set_model(model.digest, model.form, self.served.formula_version)
