"""The ranking formula of a server: validated, previewed, versioned, kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.io.errors import UserError
from pipeline.serving.http.answers import JSON
from pipeline.serving.http.keys import Keys, read_keys
from pipeline.serving.model.formulas import Formulas
from pipeline.serving.settings import Settings
from pipeline.serving.start import open_app
from tests.pipeline.serving.client import Client, Response, running
from tests.pipeline.serving.test_rank import probabilities, request

ADMIN = {"content-type": JSON, "authorization": f"Bearer {'a' * 16}"}


def keys() -> Keys:
    return read_keys(None, {"HOMEREC_KEYS": f"a admin {'a' * 16}\nr rank {'r' * 16}"})


def send(client: Client, method: str, path: str, body: Any) -> Response:
    return client.send(method, path, json.dumps(body).encode(), ADMIN)


@pytest.fixture
def server(model_folder: Path, tmp_path: Path) -> Iterator[Client]:
    with running(model_folder, keys(), state=tmp_path / "state.json") as client:
        yield client


def score(client: Client) -> Any:
    answer = client.rank(request(), ADMIN).json
    return answer["score"], answer["formula_version"]


def test_a_formula_is_changed_and_taken_back(server: Client) -> None:
    before, version = score(server)
    assert version == 1
    got = send(server, "PUT", "/v1/formula", {"formula": "2 * click"})
    assert (got.status, got.json["version"]) == (200, 2)
    after, version = score(server)
    click = probabilities(server.rank(request(), ADMIN).json)[:, 0]
    np.testing.assert_allclose(after, 2 * click, rtol=1e-6)
    assert version == 2
    assert send(server, "POST", "/v1/formula/rollback", {}).json["version"] == 3
    assert score(server) == (before, 3)
    assert send(server, "POST", "/v1/formula/rollback", {"version": 2}).json["version"] == 4
    assert score(server)[0] == after
    history = server.send("GET", "/v1/formula", headers=ADMIN).json["history"]
    assert [one["version"] for one in history] == [1, 2, 3, 4]
    assert history[1]["formula"] == history[3]["formula"] == "2 * click"
    assert send(server, "POST", "/v1/formula/rollback", {"version": 9}).status == 404


def test_a_preview_changes_nothing(server: Client) -> None:
    before = score(server)
    body = {"formula": "0 - click", "request": request(sort=True)}
    got = send(server, "POST", "/v1/formula/preview", body)
    assert got.status == 200
    click = probabilities(got.json)[:, 0]
    np.testing.assert_array_equal(click, np.sort(click))
    assert score(server) == before
    assert send(server, "POST", "/v1/formula/preview", {**body, "request": {}}).status == 422


@pytest.mark.parametrize("formula", ["", "clik", "__import__('os')", "click.real", "(" * 5000])
def test_only_formulas_are_taken(server: Client, formula: str) -> None:
    got = send(server, "PUT", "/v1/formula", {"formula": formula})
    assert (got.status, got.error["field"]) == (422, "formula")
    assert server.app.formulas.current.version == 1


def test_changes_need_an_admin_key(server: Client, model_folder: Path) -> None:
    body = json.dumps({"formula": "click"}).encode()
    for token, status in (("", 401), ("r" * 16, 403)):
        headers = {"content-type": JSON, "authorization": f"Bearer {token}"}
        assert server.send("PUT", "/v1/formula", body, headers).status == status
    with running(model_folder) as open_to_all:
        got = open_to_all.send("PUT", "/v1/formula", body, {"content-type": JSON})
        assert (got.status, got.error["code"]) == (403, "no_admin_key")


def test_a_formula_is_kept_over_restarts(model_folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for formula in ("click", "stayed * teen"):
        with running(model_folder, keys(), state=state) as client:
            send(client, "PUT", "/v1/formula", {"formula": formula})
            after = score(client)
        with running(model_folder, keys(), state=state) as client:
            assert score(client) == after
    settings = Settings(state=state)
    state.write_text(state.read_text("utf-8").replace("stayed", "staid"), encoding="utf-8")
    with pytest.raises(UserError, match=r"state\.json: formula: .*'staid' is not a task"):
        open_app(model_folder, settings, keys())
    state.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"state\.json: Object missing required field `history`"):
        open_app(model_folder, settings, keys())


def test_a_formula_that_cannot_be_kept_is_not_used(server: Client, tmp_path: Path) -> None:
    (tmp_path / ".state.json.partial").mkdir()  # in the way of the file that is renamed
    got = send(server, "PUT", "/v1/formula", {"formula": "click"})
    assert (got.status, got.error["code"]) == (409, "not_kept")
    assert score(server)[1] == 1


def test_the_models_formula_is_used_until_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    Formulas(path, "a").follow_model("b")
    assert Formulas(path, "c").formula == "c"
    Formulas(path, "c").change("d")
    assert Formulas(path, "e").formula == "d"
