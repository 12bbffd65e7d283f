"""`homerec serve`."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import Positive
from pipeline.io.errors import UserError
from pipeline.io.import_time import no_garbage_collection


def serve(
    *,
    model: Path | None = None,
    follow: str | None = None,
    work: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    no_keys: bool = False,
    store: Path | None = None,
    state: Path | None = None,
    sample: Path | None = None,
    watch: bool = False,
    threads: Positive | None = None,
    queue: Positive = 64,
    deadline_ms: Positive = 1000,
    max_body_mb: Positive = 8,
    max_candidates: Positive = 10_000,
    max_list: Positive = 10_000,
    read_timeout_ms: Positive = 10_000,
    max_connections: Positive = 4096,
    drain_ms: Positive = 10_000,
) -> int:
    """Serve an exported model over HTTP: POST /v1/rank scores and orders candidates.

    Args:
        model: folder written by 'homerec export'.
        follow: folder or address that 'homerec publish' publishes to, instead of a model: the
            newest one serves, and each newer one takes its place within seconds.
        work: with --follow: local folder for its models (default: served).
        host: address to listen on; others than this machine need --keys.
        port: port to listen on; 0: a free one.
        keys: file with a key per line: NAME ROLE TOKEN [REQUESTS_PER_SECOND]; roles: rank, admin
            (default: the variable HOMEREC_KEYS).
        no_keys: let everybody who reaches --host use the server.
        store: folder that 'homerec features load' filled; requests may carry ids alone.
        state: file that keeps the ranking formula over restarts (default: MODEL.formula.json, or
            WORK.formula.json).
        sample: files of a table whose rows make requests to try, in the console at / and under
            /v1/samples.
        watch: load the model folder again when it has changed; SIGHUP does so once.
        threads: threads that score (default: one per core).
        queue: requests that may wait for a thread; more get 429.
        deadline_ms: milliseconds until a request gets 504.
        max_body_mb: size of a request's body, in MB; larger ones get 413.
        max_candidates: candidates of a request; more get 413.
        max_list: values of a list in a request or the store; more get 422.
        read_timeout_ms: milliseconds for a client to send a request's headers, and its body.
        max_connections: open connections; more wait.
        drain_ms: milliseconds for open requests after SIGTERM.
    """
    import asyncio
    import os

    with no_garbage_collection():
        from pipeline.increments.follower import open_follower
        from pipeline.io.console import plain_console, print_line
        from pipeline.serving.http.keys import VARIABLE, read_keys
        from pipeline.serving.http.server import free_address, needs_keys, serve_until_signal
        from pipeline.serving.settings import Settings
        from pipeline.serving.start import open_app, state_file

    if (model is None) == (follow is None):
        raise UserError("command line: give --model or --follow, one of them")
    console = plain_console()
    follower = None
    if follow is not None:
        folder = work or Path("served")
        follower = open_follower(follow, folder, lambda line: print_line(console, line))
        model, state = follower.folder, state or state_file(folder)
    assert model is not None
    settings = Settings(
        host=host,
        port=port,
        threads=threads or len(os.sched_getaffinity(0)),
        queue=queue,
        deadline_ms=deadline_ms,
        max_body_bytes=max_body_mb * 10**6,
        max_candidates=max_candidates,
        max_list=max_list,
        read_timeout_ms=read_timeout_ms,
        max_connections=max_connections,
        drain_ms=drain_ms,
        store=store,
        state=state or state_file(model),
        sample=sample,
        watch=watch,
    )
    found = read_keys(keys)
    if needs_keys(settings) and not found and not no_keys:
        raise UserError(
            f"--host {host}: others could use this server; give --keys FILE (or {VARIABLE}), or "
            "--no-keys"
        )
    chosen = free_address(host, port)
    app = open_app(model, settings, found)
    asyncio.run(serve_until_signal(app, chosen, lambda line: print_line(console, line), follower))
    return 0
