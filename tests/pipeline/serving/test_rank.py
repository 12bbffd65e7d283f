"""Rankings over HTTP: of the model's own scores, in order, with every mistake named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.pipeline.exported import FRAME, TASKS
from tests.pipeline.serving.client import Client

USER = ("user", "time")
COLUMNS = ["user", "item", "tags", "weights", "words", "age", "price", "time"]
ROWS = FRAME.select(COLUMNS).head(40)


def plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON has them."""
    return json.loads(json.dumps(frame.to_dicts(), default=str))


def request(user: int = 3, rows: pl.DataFrame = ROWS, **more: Any) -> dict[str, Any]:
    """Return the request of one user's columns, and the items of `rows`."""
    return {
        "user": {"user": plain(rows)[user]["user"]},
        "context": {"time": plain(rows)[user]["time"]},
        "candidates": plain(rows.drop(USER)),
        **more,
    }


def expected(client: Client, user: int = 3, rows: pl.DataFrame = ROWS) -> Any:
    """Return the model's probabilities of the same rows as a table."""
    one = rows[user].select(USER)
    joined = rows.with_columns(column.new_from_index(0, len(rows)) for column in one)
    return client.app.served.model.score(joined.to_arrow())


def probabilities(answer: Any) -> Any:
    return np.array([answer["probabilities"][task] for task in TASKS], dtype=np.float32).T


def test_a_request_is_answered_with_the_scores_of_its_rows(client: Client) -> None:
    got = client.rank(request())
    assert got.status == 200, got.body
    np.testing.assert_allclose(probabilities(got.json), expected(client), rtol=0, atol=1e-6)
    served = client.app.served
    assert got.json["model"] == served.model.digest
    np.testing.assert_array_equal(
        np.array(got.json["score"], np.float32), served.formula(probabilities(got.json))
    )
    assert "order" not in got.json


def test_json_rows_json_columns_and_arrow_are_the_same(client: Client) -> None:
    body = request()
    rows = client.rank(body).json
    items = ROWS.drop(USER)
    columns = {name: [row[name] for row in body["candidates"]] for name in items.columns}
    by_column = client.rank(
        {"user": body["user"], "context": body["context"], "columns": columns}
    ).json
    assert by_column == rows
    arrow = client.rank_arrow(items.to_arrow(), {"user": body["user"], "context": body["context"]})
    assert arrow.column_names == [*TASKS, "score"]
    found = np.stack([arrow[task].to_numpy() for task in TASKS], axis=1)
    np.testing.assert_array_equal(found, probabilities(rows))


def test_the_best_come_first_if_asked(client: Client) -> None:
    body = request()
    for number, one in enumerate(body["candidates"]):
        one["id"] = f"n{number}"
    plain_answer = client.rank(body).json
    assert plain_answer["id"] == [f"n{number}" for number in range(len(ROWS))]
    ranked = client.rank({**body, "sort": True}).json
    order = ranked["order"]
    assert sorted(order) == list(range(len(ROWS)))
    assert ranked["score"] == sorted(plain_answer["score"], reverse=True)
    assert ranked["id"] == [f"n{number}" for number in order]
    for task in TASKS:
        values = plain_answer["probabilities"][task]
        assert ranked["probabilities"][task] == [values[n] for n in order]
    best = client.rank({**body, "top": 5}).json
    assert best["order"] == order[:5]
    assert client.rank({**body, "top": 0}).json["score"] == []


def test_columns_may_be_the_users_or_the_candidates(client: Client) -> None:
    whole = {"candidates": plain(ROWS)}
    rows = client.app.served.model.score(ROWS.to_arrow())
    np.testing.assert_allclose(probabilities(client.rank(whole).json), rows, rtol=0, atol=1e-6)
    same = {"user": plain(ROWS)[0], "candidates": [{"id": 1}, {"id": 2}]}
    found = probabilities(client.rank(same).json)
    np.testing.assert_allclose(found, rows[[0, 0]], rtol=0, atol=1e-6)


def test_no_candidates_are_an_empty_ranking(client: Client) -> None:
    got = client.rank({"user": {"user": 1}, "candidates": [], "sort": True})
    assert got.status == 200
    assert got.json["score"] == got.json["order"] == []
    assert got.json["probabilities"] == {task: [] for task in TASKS}


def test_unknown_ids_are_counted(client: Client) -> None:
    body = request()
    body["user"]["user"] = 10**15
    assert client.rank(body).json["unknown_ids"]["user"] == 1
    text = client.get("/metrics").body.decode()
    assert 'homerec_unknown_ids_total{feature="user"}' in text


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"user": {"user": {}}}, 422, "user.user"),
        ({"user": {"usr": 1}}, 422, "user.usr"),
        ({"user": {"user": 2**63}}, 422, "user.user"),
        ({"context": {"user": 1}}, 422, "context.user"),
        ({"context": {}}, 422, "time"),
        ({"candidates": [{"item": "a", "price": "x"}]}, 422, "candidates[0].price"),
        ({"candidates": [{"item": "a"}, {}]}, 422, "candidates[1].item"),
        ({"candidates": [{"item": "a", "tags": [1, {}]}]}, 422, "candidates[0].tags[1]"),
        ({"candidates": {}}, 422, "candidates"),
        ({"candidates": [{}] * 10_001}, 413, "candidates"),
        ({"columns": {}}, 422, "candidates"),
        ({"sort": 1}, 422, "sort"),
        ({"top": -1}, 422, "top"),
        ({"more": 1}, 422, "more"),
    ],
)
def test_a_mistake_is_named(
    client: Client, change: dict[str, Any], status: int, field: str
) -> None:
    got = client.rank({**request(), **change})
    assert (got.status, got.error["field"]) == (status, field), got.body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 422),
        (b'{"candidates": [{"price": NaN}]}', 400),
        (b'{"candidates": [{"price": 1e999}]}', 422),
        (b'{"candidates": [{"item": "\xff"}]}', 400),
        (b"[" * 100_000, 422),
    ],
)
def test_what_is_no_request_is_refused(client: Client, body: bytes, status: int) -> None:
    assert client.rank(body).status == status


def test_columns_of_different_lengths_and_types_are_refused(client: Client) -> None:
    base = {"user": {"user": 1}, "context": {"time": None}}
    got = client.rank({**base, "columns": {"item": ["a", "b"], "price": [1.0]}})
    assert got.error["field"] == "columns.price"
    got = client.rank({**base, "columns": {"item": ["a", 1]}})
    assert (got.status, got.error["code"]) == (422, "invalid_value")


def test_a_value_of_the_wrong_meaning_is_named(client: Client) -> None:
    body = request()
    body["candidates"][2]["words"] = "1|x"
    body["candidates"][2]["age"] = "old"
    got = client.rank(body)
    assert got.status == 422
    assert "age" in got.error["message"]
