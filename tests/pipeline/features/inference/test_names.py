"""Names tell users from items, labels from features; legal names are names everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.names import check_name
from pipeline.features.inference import names


@pytest.mark.parametrize("name", ["user_id", "userId", "USER_ID", "userid", "uid", "CustomerID"])
def test_users(name: str) -> None:
    assert names.is_user_id(name)
    assert not names.is_item_id(name)
    assert names.is_id(name)
    assert names.group_by_name(name) == "user"


@pytest.mark.parametrize("name", ["item_id", "movieId", "videoid", "sku", "product_id"])
def test_items(name: str) -> None:
    assert names.is_item_id(name)
    assert not names.is_user_id(name)
    assert names.group_by_name(name) == "item"


@pytest.mark.parametrize("name", ["click", "is_like", "label_2", "target", "y", "isClicked"])
def test_outcomes(name: str) -> None:
    assert names.is_outcome(name)


@pytest.mark.parametrize("name", ["is_rand", "age", "like_count", "video_duration", "clicks_7d"])
def test_features_are_no_outcomes(name: str) -> None:
    assert not names.is_outcome(name)
    assert not names.is_known_afterwards(name)


def test_amounts_that_follow_from_the_label() -> None:
    assert names.is_known_afterwards("play_time_ms")
    assert not names.is_known_afterwards("duration_ms")


@given(st.lists(st.text(max_size=250), max_size=6), st.booleans())
def test_names_are_legal_and_differ(columns: list[str], label: bool) -> None:
    taken: set[str] = set()
    for column in columns:
        name = names.legal_name(column, taken, label=label)
        assert check_name(name) not in taken
        assert name not in ("loss", "mean", "total") or not label
        taken.add(name)
    for column in columns:
        names.words(column)


def test_a_legal_name_stays() -> None:
    assert names.legal_name("user_id", set()) == "user_id"
    assert names.legal_name("a.b c", set()) == "a_b_c"
