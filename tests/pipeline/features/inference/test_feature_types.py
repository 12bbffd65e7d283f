"""Types of features by values and names; the configuration accepts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.features.config import FeatureConfig
from pipeline.features.inference.feature_types import (
    MAX_VOCABULARY,
    expected_distinct,
    propose_features,
)
from pipeline.features.inference.profile import profile

_RANDOM = np.random.default_rng(0)
_SKEWED = {"type": "number", "transform": ["log1p", "standardise"]}


@pytest.mark.parametrize(
    ("name", "values", "fields"),
    [
        ("x", _RANDOM.random(900), {"type": "number"}),
        ("x", _RANDOM.lognormal(4, 2, 900), _SKEWED),
        ("age", _RANDOM.integers(17, 90, 900), {"type": "number"}),
        ("stars", _RANDOM.integers(1, 6, 900), {"type": "id"}),
        ("stars", _RANDOM.integers(1, 6, 30), {"type": "number"}),  # too few rows
        ("zip_code", _RANDOM.integers(0, 90, 900), {"type": "id"}),
        ("device_count", _RANDOM.integers(0, 90, 900), {"type": "number"}),
        ("x", _RANDOM.integers(10**9, 10**9 + 300, 900), {"type": "id"}),
        ("salary", 1000 * _RANDOM.integers(10**6, 10**6 + 300, 900), {"type": "number"}),
        ("flag", _RANDOM.random(900) < 0.5, {"type": "id"}),
        ("city", ["a", "b"], {"type": "id"}),
        ("seen", [[3, 4], [4]], {"type": "ids", "pooling": "mean"}),
        ("seen", [list(range(80))] * 9, {"type": "ids", "keep": "last 50", "pooling": "mean"}),
    ],
)  # fmt: skip
def test_types(name: str, values: Any, fields: dict[str, Any]) -> None:
    found, *more = propose_features(profile(pl.Series(name, values)), len(values))
    assert dict(found.fields) == fields
    suffixes = ["_range"] if fields["type"] == "number" else ["_number"] * (name == "stars")
    assert [one.suffix for one in more] == suffixes
    for one in (found, *more):
        FeatureConfig(**one.fields)


@pytest.mark.parametrize(("rows", "ranges"), [(900, 10), (5_000, 20), (10**6, 64)])
def test_a_number_has_ranges_too(rows: int, ranges: int) -> None:
    values = [None if row % 10 == 0 else row / 7 for row in range(900)]
    number, other = propose_features(profile(pl.Series("x", values)), rows)
    assert dict(number.fields) == {"type": "number"}
    assert dict(other.fields) == {"type": "id", "column": "x", "ids": {"quantiles": ranges}}
    assert "10% missing" in number.why


def test_numbers_beside_a_frequent_one_get_as_many_ranges() -> None:
    amounts = [0.0 if row % 10 else row / 7 for row in range(1, 901)]
    _, ranges = propose_features(profile(pl.Series("x", amounts)), 900)
    assert ranges.fields["ids"] == {"quantiles": 100}
    assert "90% of them are equal" in ranges.why


def test_values_of_a_key_are_ids_too() -> None:
    numbers = profile(pl.Series("flight", _RANDOM.integers(1, 3_000, 50_000)))
    *_, values = propose_features(numbers, 50_000, is_key=True)
    ids = {"vocabulary": {"min_count": 2}}
    assert dict(values.fields) == {"type": "id", "column": "flight", "ids": ids}
    assert values.suffix == "_value"


def test_ids_are_hashed_where_a_vocabulary_would_be_large() -> None:
    growing = profile(pl.Series("user_id", _RANDOM.integers(0, 10**9, 20_000)))
    assert expected_distinct(growing, 10**9) > MAX_VOCABULARY
    (found,) = propose_features(growing, 10**9)
    assert found.fields["ids"] == {"hash": 1_000_000}
    settled = profile(pl.Series("user_id", _RANDOM.integers(0, 1_500, 20_000)))
    assert expected_distinct(settled, 10**9) < 2_000
    (found,) = propose_features(settled, 10**9)
    assert found.fields["ids"] == {"vocabulary": {"min_count": 2}}
