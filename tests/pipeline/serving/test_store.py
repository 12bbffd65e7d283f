"""A feature store: requests with ids alone are answered as whole ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.data.sources.config import FilesConfig
from pipeline.io.errors import UserError
from pipeline.serving.store.load import Loaded, load_features
from tests.pipeline.serving.client import running
from tests.pipeline.serving.test_formula import ADMIN, keys, send
from tests.pipeline.serving.test_rank import ROWS, USER, plain, probabilities, request

ITEMS = ROWS.drop(USER).with_columns(sku=pl.Series([f"s/{n}é" for n in range(len(ROWS))]))
USERS = ROWS.select("user", "time").unique("user", keep="first", maintain_order=True).drop_nulls()


def fill(model: Path, frame: pl.DataFrame, key: str, store: Path) -> Loaded:
    path = store.parent / "rows.parquet"
    frame.write_parquet(path, row_group_size=16)
    return load_features(model, FilesConfig(path=(str(path),)), key, store)


def test_ids_alone_are_answered_as_whole_requests(model_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = fill(model_folder, ITEMS.with_columns(other=1), "sku", store)
    assert (done.rows, done.repeated, done.ignored) == (len(ITEMS), 0, ("other",))
    fill(model_folder, USERS, "user", store)
    user = plain(USERS)[3]
    body: dict[str, Any] = {
        "user": {"user": user["user"]},
        "candidates": [{"sku": sku} for sku in ITEMS["sku"]],
    }
    with running(model_folder, keys(), store=store) as client:
        whole = {**request(), "user": user}
        del whole["context"]
        expected = client.rank(whole, ADMIN).json
        got = client.rank(body, ADMIN)
        assert got.status == 200, got.body
        assert got.json == {**expected, "missing_keys": {}}
        # Columns of a request win over the store's.
        body["candidates"] = [{"sku": sku, "price": 9.0} for sku in ITEMS["sku"]]
        whole["candidates"] = [{**one, "price": 9.0} for one in whole["candidates"]]
        assert probabilities(client.rank(body, ADMIN).json).tolist() == (
            probabilities(client.rank(whole, ADMIN).json).tolist()
        )


def test_keys_that_are_not_there_are_unknown_and_counted(
    model_folder: Path, tmp_path: Path
) -> None:
    fill(model_folder, ITEMS, "sku", tmp_path / "store")
    items = [{"sku": "none"}, {"sku": ITEMS["sku"][0]}, {"sku": None}, {"sku": "x" * 9999}]
    with running(model_folder, keys(), store=tmp_path / "store") as client:
        got = client.rank({**request(), "candidates": items}, ADMIN).json
        assert got["missing_keys"] == {"sku": 3}
        nothing = dict.fromkeys(plain(ROWS.drop(USER))[0])
        whole = client.rank({**request(), "candidates": [nothing]}, ADMIN).json
        np.testing.assert_allclose(
            probabilities(got)[[0, 2, 3]], probabilities(whole)[[0] * 3], atol=1e-6
        )
        metrics = client.send("GET", "/metrics", headers=ADMIN).body.decode()
        assert 'homerec_missing_keys_total{key="sku"} 3.0' in metrics


def test_a_store_is_loaded_again_without_stopping(model_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(model_folder, ITEMS, "sku", store)
    body = {**request(), "candidates": [{"sku": sku} for sku in ITEMS["sku"]]}
    with running(model_folder, keys(), store=store) as client:
        before = client.rank(body, ADMIN).json
        fill(model_folder, ITEMS.with_columns(pl.col("price") + 5).head(10), "sku", store)
        assert client.rank(body, ADMIN).json == before
        assert send(client, "POST", "/v1/store/load", None).json == {"keys": {"sku": 10}}
        after = client.rank(body, ADMIN).json
        assert after["missing_keys"] == {"sku": len(ITEMS) - 10}
        assert after["score"][:10] != before["score"][:10]
        (tmp_path / "none").write_bytes(b"none")
        (tmp_path / "none").replace(store / "sku.mdb")  # the old one remains mapped
        got = send(client, "POST", "/v1/store/load", None)
        assert (got.status, got.error["code"]) == (409, "store_refused")
        assert client.rank(body, ADMIN).json == after
    with (
        pytest.raises(UserError, match=r"sku\.mdb: is no file of a feature store"),
        running(model_folder, store=store),
    ):
        pass


def test_rows_without_meaning_leave_the_store_as_it_was(model_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(model_folder, ITEMS, "sku", store)
    before = (store / "sku.mdb").read_bytes()
    for change, message in (
        ({"price": float("inf")}, r"rows\.parquet: row 0 .*column 'price': inf"),
        ({"sku": None}, r"row 0 .*column 'sku': has no value"),
        ({"sku": "k" * 501}, "a key has 1 to 500 bytes, this one 501"),
    ):
        frame = ITEMS.with_columns(**{name: pl.lit(value) for name, value in change.items()})
        with pytest.raises(UserError, match=message):
            fill(model_folder, frame, "sku", store)
    with pytest.raises(UserError, match="has no column of the model besides 'sku'"):
        fill(model_folder, ITEMS.select("sku"), "sku", store)
    assert (store / "sku.mdb").read_bytes() == before
    assert [path.name for path in store.iterdir()] == ["sku.mdb"]


def test_the_last_row_of_a_key_counts(model_folder: Path, tmp_path: Path) -> None:
    twice = pl.concat([ITEMS.with_columns(price=100.0), ITEMS])
    done = fill(model_folder, twice, "sku", tmp_path / "store")
    assert (done.rows, done.repeated) == (len(ITEMS), len(ITEMS))
    body = {**request(), "candidates": [{"sku": sku} for sku in ITEMS["sku"]]}
    with running(model_folder, store=tmp_path / "store") as client:
        got = client.send("POST", "/v1/rank", json.dumps(body).encode(), ADMIN).json
        assert got["score"] == client.rank(request()).json["score"]
