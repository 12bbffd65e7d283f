"""Models are swapped under load: every request is answered, by the model that the answer names."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import Model
from pipeline.export.export import export
from pipeline.io.errors import UserError
from pipeline.scoring.inputs import Input
from pipeline.scoring.manifest import load_manifest
from pipeline.serving.http.answers import JSON
from pipeline.serving.model.swap import check_inputs
from tests.pipeline.serving.client import Client, running
from tests.pipeline.serving.test_formula import ADMIN, keys, send
from tests.pipeline.serving.test_rank import expected, probabilities, request


@pytest.fixture(scope="module")
def other(trained: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with slightly different scores, and a formula of its own."""
    out = tmp_path_factory.mktemp("other") / "model"
    export(trained.folder, out, tables="int8", compile_tower="off", formula="click")
    return out


@pytest.fixture
def server(model_folder: Path) -> Iterator[Client]:
    with running(model_folder, keys(), deadline_ms=60_000) as client:
        yield client


def test_no_request_is_lost_while_models_are_swapped(
    server: Client, model_folder: Path, other: Path
) -> None:
    wanted = {server.app.served.model.digest: [expected(server, user) for user in range(4)]}
    send(server, "POST", "/v1/model/load", {"path": str(other)})
    wanted[server.app.served.model.digest] = [expected(server, user) for user in range(4)]
    bodies = [json.dumps(request(user)).encode() for user in range(4)]
    stop, answered = threading.Event(), threading.Semaphore(0)

    def generate(number: int) -> list[tuple[int, Any]]:
        """Send requests until told to stop; returns the user and the answer of each."""
        connection = server.connect()
        found: list[tuple[int, Any]] = []
        while not stop.is_set():
            user = (number + len(found)) % 4
            found.append((user, server.send("POST", "/v1/rank", bodies[user], ADMIN, connection)))
            answered.release()
        connection.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        loads = [pool.submit(generate, number) for number in range(8)]
        for number in range(9):
            path = {"path": str((model_folder, other)[number % 2])}
            change, body = ("rollback", None) if number % 3 == 2 else ("load", path)
            assert send(server, "POST", f"/v1/model/{change}", body).status == 200
            for _ in range(16):  # more than were open
                answered.acquire()
        stop.set()
        answers = [one for load in loads for one in load.result()]
    assert Counter(got.status for _, got in answers) == {200: len(answers)}
    seen = Counter(got.json["model"] for _, got in answers)
    assert set(seen) == set(wanted)
    for user, got in answers:
        np.testing.assert_allclose(
            probabilities(got.json), wanted[got.json["model"]][user], rtol=0, atol=1e-6
        )
    differences = [np.abs(a - b).max() for a, b in zip(*wanted.values(), strict=True)]
    assert min(differences) > 1e-5  # one model's scores are not taken for the other's


def test_a_model_brings_its_formula_unless_it_was_changed(
    server: Client, model_folder: Path, other: Path
) -> None:
    def formula() -> str:
        return str(server.send("GET", "/v1/formula", headers=ADMIN).json["formula"])

    assert formula() == "click + stayed + teen"
    send(server, "POST", "/v1/model/load", {"path": str(other)})
    assert formula() == "click"
    send(server, "POST", "/v1/model/rollback", None)
    assert formula() == "click + stayed + teen"
    send(server, "PUT", "/v1/formula", {"formula": "teen"})
    for _ in range(2):
        answer = send(server, "POST", "/v1/model/load", {"path": str(other)}).json
        assert formula() == answer["formula"]["formula"] == "teen"
        assert server.app.served.formula.text == "teen"


def test_a_folder_that_does_not_fit_is_refused(
    server: Client, model_folder: Path, tmp_path: Path
) -> None:
    def refused(path: Path) -> str:
        got = send(server, "POST", "/v1/model/load", {"path": str(path)})
        assert (got.status, got.error["code"]) == (409, "model_refused")
        return str(got.error["message"])

    digest = server.app.served.model.digest
    assert "no such folder" in refused(tmp_path / "none")
    damaged = tmp_path / "damaged"
    shutil.copytree(model_folder, damaged)
    table = next((damaged / "tables").iterdir())
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    assert "checksum" in refused(damaged)
    shutil.rmtree(damaged)
    shutil.copytree(model_folder, damaged)
    manifest, _ = load_manifest(damaged)
    manifest.model_copy(update={"parity": None}).save(damaged)
    assert "not compared with evaluation" in refused(damaged)
    assert server.rank(request(), ADMIN).json["model"] == digest
    fresh = send(server, "POST", "/v1/model/rollback", None)
    assert (fresh.status, fresh.error["code"]) == (409, "no_previous")


def test_columns_that_differ_are_refused() -> None:
    a = Input("a", "id", "user", False, None)
    b = Input("b", "ids", "item", True, None)
    check_inputs([a, b], [b, a])
    with pytest.raises(UserError, match="column 'b': the running model does not read it"):
        check_inputs([a], [a, b])
    with pytest.raises(UserError, match="column 'b': the new model does not read it"):
        check_inputs([a, b], [a])
    with pytest.raises(UserError, match="column 'b': is of kind 'number', 'ids list' in the"):
        check_inputs([a, b], [a, Input("b", "number", "item", False, None)])


def test_what_a_server_says_about_its_model(server: Client, model_folder: Path) -> None:
    card = server.send("GET", "/v1/model", headers=ADMIN).json
    assert card["digest"] == server.app.served.model.digest
    assert [one["name"] for one in card["tasks"]] == ["click", "stayed", "teen"]
    assert card["step"] == 6
    assert card["parity"]["max_difference"] <= 1e-5
    assert set(card["metrics"]["tasks"]) == {"click", "stayed", "teen"}
    assert server.send("GET", "/v2/health/live").json == {"live": True}
    assert server.send("GET", "/v2/health/ready").json == {"ready": True}
    found = server.send("GET", f"/v2/models/{card['name']}", headers=ADMIN).json
    assert [one["name"] for one in found["outputs"]] == ["click", "stayed", "teen", "score"]
    assert server.send("GET", "/v2/models/none", headers=ADMIN).status == 404
    assert server.send("POST", "/v1/model/rollback", b"", {"content-type": JSON}).status == 401
