"""Limits of size, time and number; keys; a stop that answers what is open."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.io.errors import UserError
from pipeline.serving.http.answers import JSON
from pipeline.serving.http.keys import read_keys
from pipeline.serving.http.server import free_address
from pipeline.serving.model.served import Served
from tests.pipeline.serving.client import Client, Response, running
from tests.pipeline.serving.test_rank import expected, probabilities, request
from tests.pipeline.serving.test_store import ITEMS, fill

RANK, ADMIN = "r" * 16, "a" * 16
KEYS = f"web rank {RANK}\n# people\nops admin {ADMIN}\nslow rank {'s' * 16} 0.001\n"


class Gate:
    """Holds the scoring threads until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        answer = Served.answer

        def held(served: Served, *args: Any) -> Any:
            self.entered.release()
            self.open.wait()
            return answer(served, *args)

        monkeypatch.setattr(Served, "answer", held)


def test_large_bodies_and_many_candidates_are_refused(model_folder: Path) -> None:
    with running(model_folder, max_body_bytes=1000, max_candidates=2) as client:
        assert client.rank(request()).error["code"] == "body_too_large"
        body = {"candidates": [{"item": "a"}] * 3}
        assert client.rank(body).error["code"] == "too_many_candidates"

        def chunks() -> Any:
            yield from [b" " * 500] * 5

        connection = client.connect()
        connection.request("POST", "/v1/rank", chunks(), {"content-type": JSON})
        assert connection.getresponse().status == 413
        connection.close()


def test_long_lists_are_refused(model_folder: Path, tmp_path: Path) -> None:
    long = ITEMS.with_columns(words=pl.lit("|".join("1" * 4)))
    fill(model_folder, long, "sku", tmp_path / "store")
    with running(model_folder, max_list=3, store=tmp_path / "store") as client:
        body: dict[str, Any] = request()
        for one in body["candidates"]:
            one.update(words="1|2|3", tags=[1, 2], weights=[1.0, 1.0])
        assert client.rank(body).status == 200
        for change in ({"words": "1|2|3|4"}, {"tags": [1] * 4}):
            body["candidates"][2] = {**body["candidates"][1], **change}
            got = client.rank(body)
            (name,) = change
            assert (got.status, got.error["field"]) == (422, f"candidates[2].{name}")
            assert "a list of 4 values; at most 3 are taken" in got.error["message"]
        stored = {**request(), "candidates": [{"sku": ITEMS["sku"][0]}]}
        assert client.rank(stored).error["field"].startswith("candidates[0].")


def test_slow_clients_are_let_go(model_folder: Path) -> None:
    with running(model_folder, read_timeout_ms=50) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as slow:
            slow.sendall(
                b"POST /v1/rank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"content-length: 100\r\n\r\n{"
            )
            assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 408")
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as slow:
            slow.sendall(b"POST /v1/ra")
            assert b"200" not in slow.makefile("rb").read()  # until it is closed


def test_a_full_queue_is_said(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        ThreadPoolExecutor(3) as pool,
        running(model_folder, queue=1, deadline_ms=60_000) as client,
    ):
        gate = Gate(monkeypatch)
        taken = [pool.submit(client.rank, request()) for _ in range(3)]
        while b"homerec_queue 1.0" not in client.get("/metrics").body:
            pass
        got = client.rank(request())
        assert (got.status, got.error["code"]) == (429, "queue_full")
        assert got.headers["retry-after"] == "1"
        gate.open.set()
        assert [one.result().status for one in taken] == [200] * 3
    assert client.app.work.running == client.app.work.waiting == 0


def test_a_deadline_is_kept(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(model_folder, deadline_ms=50) as client, ThreadPoolExecutor(4) as pool:
        gate = Gate(monkeypatch)
        late = [pool.submit(client.rank, request()) for _ in range(4)]
        for one in late:
            assert (one.result().status, one.result().error["code"]) == (504, "deadline")
        gate.open.set()


def test_each_of_many_connections_gets_its_own_answer(model_folder: Path) -> None:
    with running(model_folder, deadline_ms=60_000, queue=500) as client:
        wanted = [expected(client, user) for user in range(10)]
        bodies = [json.dumps(request(user)).encode() for user in range(10)]
        connections = [client.connect() for _ in range(1000)]
        for connection in connections:
            connection.connect()

        def send(number: int) -> tuple[int, Response]:
            user = number % 10
            headers = {"content-type": JSON}
            return user, client.send("POST", "/v1/rank", bodies[user], headers, connections[number])

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(send, range(0, 1000, 4)))
        for connection in connections:
            connection.close()
        assert {got.status for _, got in answers} == {200}
        for user, got in answers:
            np.testing.assert_allclose(probabilities(got.json), wanted[user], rtol=0, atol=1e-6)


def test_a_stop_answers_what_is_open(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(2) as pool:
        with running(model_folder, deadline_ms=60_000) as client:
            gate = Gate(monkeypatch)
            open_requests = [pool.submit(client.rank, request()) for _ in range(2)]
            for _ in open_requests:
                gate.entered.acquire()
            threading.Timer(0.2, gate.open.set).start()
        assert [one.result().status for one in open_requests] == [200, 200]
    assert client.app.draining
    with pytest.raises(OSError, match="refused"):
        client.get("/healthz")


def test_keys_open_what_their_role_may(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(KEYS, encoding="utf-8")
    with running(model_folder, read_keys(path)) as client:

        def status(token: str) -> int:
            return client.rank(request(), {"authorization": token}).status

        assert client.rank(request()).error["code"] == "unauthorized"
        for wrong in ("", "Bearer", f"Basic {RANK}", f"Bearer {RANK}x", "Bearer \xff"):
            assert status(wrong) == 401
        assert status(f"Bearer {RANK}") == status(f"bearer {ADMIN}") == 200
        assert [status(f"Bearer {'s' * 16}") for _ in range(2)] == [200, 429]
        assert client.get("/metrics").status == 401
        assert client.get("/healthz").status == client.get("/readyz").status == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web rank", "line 1: has 2 words"),
        (f"web root {RANK}", "'root' is no role"),
        ("web rank short", "shorter than 16"),
        (f"web rank {RANK} fast", "'fast' is no number"),
        (f"a rank {RANK}\nb rank {RANK}", "line 2: repeats"),
    ],
)
def test_keys_are_checked(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_keys(None, {"HOMEREC_KEYS": text})


def test_paths_and_methods_that_are_not_there(client: Client) -> None:
    for path in ("/v2", "/v1/rank/", "/v1/samples/", "/v1/samples/x", "/v1/samples/99999999999"):
        assert client.get(path).error["code"] == "not_found"
    got = client.get("/v1/rank")
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert client.send("HEAD", "/healthz").body == b""


def test_a_port_in_use_is_named(client: Client) -> None:
    with pytest.raises(UserError, match=f"--port {client.port}: Address already in use"):
        free_address("127.0.0.1", client.port)


def test_the_name_of_this_machine_is_an_address(model_folder: Path) -> None:
    with running(model_folder, host="localhost", max_candidates=1) as client:
        assert client.get("/healthz").status == 200
