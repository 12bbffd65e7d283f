"""A server in a thread of this process, and a client of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.serving.http.answers import ARROW, JSON
from pipeline.serving.http.app import App
from pipeline.serving.http.keys import Keys
from pipeline.serving.http.server import free_address, serve
from pipeline.serving.settings import Settings
from pipeline.serving.start import open_app


@dataclass(frozen=True)
class Response:
    """Status, headers in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


@dataclass(frozen=True)
class Client:
    """Sends requests to a server."""

    app: App
    port: int
    loop: asyncio.AbstractEventLoop

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        connection: HTTPConnection | None = None,
    ) -> Response:
        own = self.connect() if connection is None else connection
        try:
            own.request(method, path, body, dict(headers or {}))
            got = own.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Response(got.status, found, got.read())
        finally:
            if connection is None:
                own.close()

    def get(self, path: str, **headers: str) -> Response:
        return self.send("GET", path, headers=headers)

    def rank(self, body: Any, headers: Mapping[str, str] | None = None) -> Response:
        """POST a request as JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", "/v1/rank", content, {"content-type": JSON, **(headers or {})})

    def rank_arrow(self, table: pa.Table, rest: Any) -> pa.Table:
        """POST candidates as a table; returns the answer's."""
        table = table.replace_schema_metadata({"homerec.request": json.dumps(rest)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        got = self.rank(sink.getvalue().to_pybytes(), {"content-type": ARROW})
        assert (got.status, got.headers["content-type"]) == (200, ARROW), got.body
        return pa.ipc.open_stream(got.body).read_all()


@contextmanager
def running(folder: Path, keys: Keys | None = None, **limits: Any) -> Iterator[Client]:
    """Serve a model folder on a free port; drained at the end."""
    settings = Settings(threads=2, **limits)
    app = open_app(folder, settings, keys or Keys(()))
    port = free_address(settings.host, 0)
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(serve(app, port, stop, lambda line: ready.set()))
        except BaseException as error:  # noqa: BLE001  (told to the test)
            failures.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield Client(app, port, loop)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        assert not thread.is_alive()
        assert failures == []
