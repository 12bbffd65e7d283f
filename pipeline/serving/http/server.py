"""Listens, and stops without losing a request."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from pipeline.increments.follower import Follower
from pipeline.io.errors import UserError
from pipeline.serving.http.app import App
from pipeline.serving.http.follow import follow
from pipeline.serving.http.watch import watch
from pipeline.serving.settings import Settings

_POLL_S = 0.01
Say = Callable[[str], None]
"""Told what the server does, line by line."""


def free_address(host: str, port: int) -> int:
    """Return the port, or a free one for port 0. Raises UserError if it cannot be had.

    Granian shares a port with other processes that do, so that a second server would start.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--host {host} --port {port}: {error.strerror or error}; give another address"
            ) from error
        found: int = probe.getsockname()[1]
        return found


async def serve_until_signal(
    app: App, port: int, say: Say, follower: Follower | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; the newest model of `follower`, if given."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hangup = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    await serve(app, port, stop, say, hangup, follower)


async def serve(
    app: App,
    port: int,
    stop: asyncio.Event,
    say: Say,
    hangup: asyncio.Event | None = None,
    follower: Follower | None = None,
) -> None:
    """Serve until `stop` is set, then answer the open requests.

    New ones are answered, too, until none is open or `drain_ms` are over; /readyz says 503.
    `hangup` loads the model folder again.
    """
    settings = app.settings
    server = _server(app, port)
    loop = asyncio.get_running_loop()
    serving = loop.create_task(server.serve())
    await _listening(settings.host, port, serving)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"serving {app.served.model.folder} on http://{host}:{port}")
    watching = [loop.create_task(watch(app, hangup or asyncio.Event(), say))]
    if follower is not None:
        watching.append(loop.create_task(follow(app, follower, say)))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopped.cancel()
        raise RuntimeError("the HTTP server ended by itself") from serving.exception()
    for task in watching:
        task.cancel()
    app.draining = True
    end = loop.time() + settings.drain_ms / 1000
    say(f"stopping: {app.open_requests} open requests")
    while app.open_requests and loop.time() < end:
        await asyncio.sleep(_POLL_S)
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait({serving}, timeout=max(1.0, end - loop.time()))
    app.work.close()


def _address(host: str) -> str:
    """Return the address of a name: Granian takes no names."""
    found: str = host if ":" in host else socket.gethostbyname(host)
    return found


def _server(app: App, port: int) -> Server:
    settings = app.settings
    return Server(
        app,
        address=_address(settings.host),
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=settings.read_timeout_ms),
        websockets=False,
        backlog=1024,
        backpressure=settings.max_connections,
        log_enabled=False,
    )


async def _listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Return when a connection is accepted."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(target, port)
        except OSError:
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            return


def needs_keys(settings: Settings) -> bool:
    """Whether others than this machine can reach the server."""
    return settings.host not in ("127.0.0.1", "::1", "localhost")
