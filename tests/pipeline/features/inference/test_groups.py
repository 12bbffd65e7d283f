"""Columns that are constant within a user describe users, unless they hardly vary at all."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.features.inference.groups import constant_within, propose_groups
from pipeline.features.inference.profile import profile

_RANDOM = np.random.default_rng(0)
_USERS = _RANDOM.integers(0, 200, 4_000)
_FRAME = pl.DataFrame(
    {
        "user_id": _USERS,
        "city": pl.Series([f"c{one % 9}" for one in _USERS]),
        "moved": pl.Series([f"c{one % 9}" for one in _USERS]).scatter(0, "c77"),
        "rare": np.arange(4_000) == 7,
        "price": _RANDOM.random(4_000),
        "item_rank": _RANDOM.integers(0, 9, 4_000),
        "weather": _RANDOM.integers(0, 9, 4_000),
    }
)
_COLUMNS = {one.name: profile(one) for one in _FRAME.get_columns()}


def test_columns_of_a_key() -> None:
    found = constant_within(_COLUMNS["user_id"], _COLUMNS.values())
    assert found == {"user_id", "city", "moved"}


def test_the_key_of_a_side_table_comes_first_then_names() -> None:
    groups = propose_groups(_COLUMNS, {}, "user_id", {"weather": "user_id"})
    assert groups == {
        "user_id": "user",
        "city": "user",
        "moved": "user",
        "item_rank": "item",
        "weather": "user",
    }


def test_few_rows_per_key_say_nothing() -> None:
    unique = profile(pl.Series("user_id", range(4_000)))
    assert constant_within(unique, _COLUMNS.values()) == set()
