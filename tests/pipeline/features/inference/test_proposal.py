"""A made-up log of known structure: the proposal finds it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.names import check_name
from pipeline.features.config import FeatureConfig, LabelConfig
from pipeline.features.inference.proposal import Proposal, propose
from pipeline.features.inference.wishes import Wishes
from pipeline.io.errors import UserError

_ROWS = 6_000


def _log() -> pl.DataFrame:
    random = np.random.default_rng(0)
    user, item = random.integers(0, 300, _ROWS), random.integers(0, 200, _ROWS)
    click = random.random(_ROWS) < 0.3
    age = random.integers(17, 91, 300)
    start = datetime(2026, 4, 1)
    return pl.DataFrame(
        {
            "row": np.arange(_ROWS),
            "user_id": user,
            "video_id": item + 5_000_000,
            "age": np.where(user % 10 == 0, np.nan, age[user]),
            "city": np.array(["Oslo", "Bergen", "Bodø"])[user % 3],
            "genre": np.array(["a", "b", "c", "d"])[item % 4],
            "price.in nok": random.lognormal(3, 2, _ROWS),
            "tags": [f"t{one % 7}|t{one % 5}" for one in item],
            "position": random.integers(1, 9, _ROWS),
            "position_copy": np.zeros(_ROWS),
            "source": "app",
            "empty": pl.Series([None] * _ROWS, dtype=pl.String),
            "comment_text": [f"dear all of you {one} people" for one in range(_ROWS)],
            "reward": click * 2.5 + random.random(_ROWS),
            "play_time": random.random(_ROWS),
            "is_click": click.astype(int),
            "is_like": (random.random(_ROWS) < 0.1).astype(int),
            "ts": [start + timedelta(minutes=6 * one) for one in range(_ROWS)],
        }
    ).with_columns(position_copy="position")


def _features(found: Proposal) -> dict[str, dict[str, Any]]:
    return {one.name: dict(one.feature.fields) for one in found.features}


def test_what_a_log_means() -> None:
    found = propose(_log(), Wishes())
    assert (found.user, found.time) == ("user_id", "ts")
    assert [label.name for label in found.labels] == ["is_click", "is_like"]
    assert _features(found) == {
        "user_id": {"type": "id"},
        "video_id": {"type": "id"},
        "age": {"type": "number"},
        "age_range": {"type": "id", "column": "age", "ids": {"quantiles": 20}},
        "city": {"type": "id"},
        "genre": {"type": "id"},
        "price_in_nok": {"type": "number", "transform": ["log1p", "standardise"]},
        "price_in_nok_range": {
            "type": "id",
            "column": "price.in nok",
            "ids": {"quantiles": 20},
        },
        "tags": {"type": "ids", "separator": "|", "pooling": "mean"},
        "position": {"type": "id"},
        "position_number": {"type": "number", "column": "position"},
        "hour": {"type": "id", "part": "hour"},
        "weekday": {"type": "id", "part": "weekday"},
    }
    groups = {one.name: one.group for one in found.features}
    assert groups["user_id"] == groups["age"] == groups["city"] == "user"
    assert groups["video_id"] == groups["genre"] == "item"
    assert groups["position"] == groups["price_in_nok"] == groups["hour"] == "context"
    reasons = {one.column: one.why for one in found.left_out}
    assert reasons.keys() == {
        "row", "position_copy", "source", "empty", "comment_text", "reward", "play_time",
    }  # fmt: skip
    assert "AUC 1.000" in reasons["reward"]
    assert reasons["position_copy"] == "equals position"
    assert found.split.by == "time"
    assert found.split.fields["val_from"] == "2026-04-21"


def test_the_same_from_text_as_from_types() -> None:
    log = _log()
    text = log.with_columns(
        pl.col("age").cast(pl.Int64, strict=False), pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S")
    ).cast(pl.String)
    typed, read = propose(log, Wishes()), propose(text, Wishes())
    assert _features(typed) == _features(read)
    assert typed.split == read.split
    assert [one.column for one in typed.left_out] == [one.column for one in read.left_out]


@pytest.mark.parametrize("name", ["len", "count", "key", "value", "literal", "0", ""])
def test_any_column_may_have_any_name(name: str) -> None:
    for column in ("age", "city", "is_like", "tags"):
        found = propose(_log().rename({column: name}), Wishes(labels=("is_click",)))
        features, others = found.features, found.left_out
        assert name in {*(one.column for one in features), *(one.column for one in others)}


def test_wishes_are_met() -> None:
    wishes = Wishes(
        labels=("is_like",), no_user=True, weight="price.in nok", split="random", drop=("city",)
    )
    found = propose(_log(), wishes)
    names = _features(found).keys()
    assert found.user is None
    assert found.split.by == "random"
    assert not {"city", "price_in_nok", "is_click", "ts"} & names
    assert {"hour", "weekday"} <= names
    by_city = propose(_log(), Wishes(split="column:city"))
    assert by_city.split.fields["val"] == ["Bodø"]
    assert "city" not in _features(by_city)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(labels=("is_clik",)), "--labels: no column 'is_clik' .* did you mean 'is_click'"),
        (Wishes(labels=("source",)), "--labels: 'source' has one value, 'app',"),
        (Wishes(user="nobody"), "--user: no column 'nobody'"),
        (Wishes(user="row"), "--user: 'row' has a different value in each row"),
        (Wishes(user="city", no_user=True), "exclude each other"),
        (Wishes(time="city"), "--time: 'city' has 'Oslo', neither"),
        (Wishes(weight="city"), "--weight: 'city' has text values"),
        (Wishes(split="day"), "--split: 'day': write time, random or column:NAME"),
        (Wishes(split="column:nix"), "--split: no column 'nix'"),
        (Wishes(drop=("nix",)), "--drop: no column 'nix'"),
        (Wishes(drop=tuple(set(_log().columns) - {"is_click", "row", "source"})), "no column is"),
    ],
)
def test_what_cannot_be_met_is_said(wishes: Wishes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        propose(_log(), wishes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None], "--time: 't' has no values; name another column"),
        ([float("nan")] * 2, "--time: 't' has no values; name another column"),
        ([[1], [2]], r"--time: 't' has '\[1\]', neither a number nor a time"),
        (["soon", "late"], "--time: 't' has 'soon', neither a number nor a time"),
    ],
)
def test_a_column_that_is_no_time(values: list[object], message: str) -> None:
    table = pl.DataFrame({"y": [0, 1], "a": [1, 2], "t": values})
    with pytest.raises(UserError, match=message):
        propose(table, Wishes(labels=("y",), time="t"))


@pytest.mark.parametrize("values", [[None, None], [[1], [2]]])
def test_a_column_without_ids_is_not_found_as_the_users(values: list[object]) -> None:
    found = propose(pl.DataFrame({"y": [0, 1], "a": [1, 2], "user_id": values}), Wishes())
    assert found.user is None


def test_a_table_without_features() -> None:
    table = pl.DataFrame({"y": [0, 1], "w": [1, 2]})
    with pytest.raises(UserError, match="feature: the table has only y, the label; give files"):
        propose(table.select("y"), Wishes())
    with pytest.raises(UserError, match="has only y, w, the label and the weight; give files"):
        propose(table, Wishes(weight="w"))


def test_no_rows_and_no_label() -> None:
    with pytest.raises(UserError, match="no rows"):
        propose(_log().head(0), Wishes())
    with pytest.raises(UserError, match="no column is a label"):
        propose(pl.DataFrame({"a": [1, 2]}), Wishes())


_COLUMN = st.sampled_from([pl.Int64, pl.UInt64, pl.Float64, pl.String, pl.Boolean, pl.Date])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 60),
    st.dictionaries(st.text(max_size=12), _COLUMN, max_size=6),
    st.integers(0, 2**31),
)
def test_any_table_has_a_valid_proposal(rows: int, columns: dict[str, Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    made: dict[str, pl.Series] = {}
    for name, dtype in columns.items():
        values = pl.Series(name, random.integers(0, 9, rows)).cast(pl.Int32)
        typed = values.cast(dtype) if dtype != pl.Boolean else values > 4
        made[name] = pl.select(pl.when(values > 1).then(typed)).to_series().alias(name)
    made["click"] = pl.Series("click", np.arange(rows) % 2)
    made["other"] = pl.Series("other", np.arange(rows) % 3)
    found = propose(pl.DataFrame(made), Wishes(labels=("click",)))
    for feature in found.features:
        check_name(feature.name)
        FeatureConfig(**{"column": feature.column, **feature.feature.fields})
    for label in found.labels:
        check_name(label.name)
        LabelConfig(**label.rule)
    said = {one.column for one in found.features} | {one.column for one in found.left_out}
    assert said | {"click"} == set(made)


@pytest.mark.parametrize("value", [float("inf"), 1e300])
def test_numbers_that_float32_cannot_hold(value: float) -> None:
    large = pl.when(pl.int_range(pl.len()) == 7).then(value).otherwise("reward").alias("reward")
    frame = _log().with_columns(large)
    found = propose(frame, Wishes(labels=("is_like",)))
    reasons = {one.column: one.why for one in found.left_out}
    assert reasons["reward"].startswith("infinite values, or beyond float32")
    with pytest.raises(UserError, match="--labels: 'reward' has infinite values"):
        propose(frame, Wishes(labels=("reward",)))
    with pytest.raises(UserError, match="--weight: 'reward' has missing or infinite values"):
        propose(frame, Wishes(labels=("is_like",), weight="reward"))


def test_times_that_are_missing_split_no_rows() -> None:
    gap = pl.when(pl.int_range(pl.len()) != 7).then("ts").alias("ts")
    found = propose(_log().with_columns(gap), Wishes(time="ts"))
    assert found.split.by == "random"
    assert found.split.why == "ts is missing in 1 sampled rows"
    with pytest.raises(UserError, match="--split: time: 'ts' is missing in 1 sampled rows; use"):
        propose(_log().with_columns(gap), Wishes(time="ts", split="time"))
