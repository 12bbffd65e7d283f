"""Columns that are no features are named with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.features.inference.flags import copies, why_left_out
from pipeline.features.inference.profile import profile

_MANY = range(500)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("x", [None] * 9, "no values"),
        ("x", ["a"] * 9, "constant: a"),
        ("x", [[]] * 9, "constant: empty lists"),
        ("x", [1.5, float("inf")], "infinite values"),
        ("x", [b"a", b"b"], "values of type Binary"),
        ("x", [[0.5, 1.5], [2.5]], "lists of numbers with fractions"),
        ("x", ["[1]", "[2, 3]"], "lists as JSON"),
        ("x", [f"{one},5" for one in _MANY], "numbers with decimal commas"),
        ("x", [f"this is what {one} wrote" for one in _MANY], "free text: 5 words"),
        ("x", [f"k{one}" for one in _MANY], "hardly any value recurs"),
        ("x", list(_MANY), "number of the row"),
        ("request_id", [one * 7919 % 10_007 for one in _MANY], "a different value in each row"),
        ("play_time", [1.5, 2.5], "by its name, known only after the label"),
    ],
)
def test_reasons(name: str, values: list[Any], reason: str) -> None:
    column = profile(pl.Series(name, values, strict=False))
    assert (why_left_out(column, column.rows) or "").startswith(reason)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("user_id", [one * 7919 % 10_007 for one in _MANY]),  # of part of a table
        ("age", [17 + one % 74 for one in _MANY]),
        ("x", [None, *["a"] * 9]),  # missing or not
        ("city", ["Oslo", "Bodø"]),
        ("price", list(np.random.default_rng(0).random(500))),
        ("tags", [[1, 2], [2]]),
    ],
)
def test_features(name: str, values: list[Any]) -> None:
    assert why_left_out(profile(pl.Series(name, values)), 10**6) is None


def test_copies_are_equal_in_all_rows() -> None:
    frame = pl.DataFrame(
        {
            "a": [1, 2, None],
            "b": [1.0, 2.0, None],
            "c": ["1", "2", None],
            "d": [1, 2, 3],
            "e": [[1], [2], None],
            "f": [[1], [2], None],
            "g": [0.5, float("nan"), 1],
            "h": [0.5, None, 1],
        }
    )
    columns = {one.name: profile(one) for one in frame.get_columns()}
    assert copies(columns) == {"b": "a", "c": "a", "f": "e", "h": "g"}
