"""Features and configuration become the tables they should."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from embeddings.config import EmbeddingsConfig
from embeddings.features import build_tables, in_group_order, mean_pooled


@dataclass(frozen=True)
class Feature:
    name: str
    group: str
    table: str
    multi: bool = False
    pooling: Literal["sum", "mean"] | None = None


FEATURES = [
    Feature("tab", "context", "tab"),
    Feature("video", "item", "video"),
    Feature("tags", "item", "tag", multi=True),
    Feature("user", "user", "user"),
    Feature("hist_video", "user", "video", multi=True),
]
SIZES = {"tab": 15, "video": 7000, "tag": 60, "user": 20_000}


def test_groups_stand_in_order() -> None:
    names = [feature.name for feature in in_group_order(FEATURES)]
    assert names == ["user", "hist_video", "video", "tags", "tab"]


def test_a_history_shares_the_items_table() -> None:
    by_name = {t.name: t for t in build_tables(EmbeddingsConfig(), FEATURES, SIZES)}
    assert by_name["video"].features == ("hist_video", "video")
    assert len(by_name) == 4


def test_rows_are_the_vocabulary_and_the_hash_rows() -> None:
    config = EmbeddingsConfig(hash_rows=7)
    assert {t.name: t.rows for t in build_tables(config, FEATURES, SIZES)} == {
        name: size + 7 for name, size in SIZES.items()
    }


def test_a_table_may_have_its_own_hash_rows_which_are_ids() -> None:
    config = EmbeddingsConfig(dim=16, small_dim=8, small_rows=1000, hash_rows=7)
    tables = build_tables(config, FEATURES, SIZES | {"tab": 1}, (), {"tab": 5_000, "tag": 0})
    found = {t.name: (t.rows, t.dim) for t in tables}
    assert found == {
        "user": (20_007, 16),
        "video": (7_007, 16),
        "tag": (60, 8),
        "tab": (5_001, 16),
    }


def test_a_features_pooling_is_between_the_default_and_the_overrides() -> None:
    features = [replace(f, pooling="sum") if f.name == "tags" else f for f in FEATURES]
    assert mean_pooled(EmbeddingsConfig(), features) == ["hist_video"]
    assert mean_pooled(EmbeddingsConfig(poolings={"t*": "mean"}), features) == [
        "tags",
        "hist_video",
    ]
    features = [replace(f, pooling="mean") if f.name == "tags" else f for f in FEATURES]
    assert mean_pooled(EmbeddingsConfig(pooling="sum"), features) == ["tags"]


def test_small_tables_are_narrower_and_overrides_win() -> None:
    config = EmbeddingsConfig.model_validate(
        {"dim": 32, "small_dim": 4, "tables": {"t*": {"dim": 12}, "tab": {"dtype": "fp16"}}}
    )
    found = {t.name: (t.dim, t.dtype) for t in build_tables(config, FEATURES, SIZES)}
    assert found == {
        "user": (32, "fp32"),
        "video": (32, "fp32"),
        "tag": (12, "fp32"),
        "tab": (12, "fp16"),
    }


def test_pooling_is_a_features_own() -> None:
    config = EmbeddingsConfig(pooling="sum", poolings={"hist_*": "mean"})
    assert mean_pooled(config, FEATURES) == ["hist_video"]
    assert mean_pooled(EmbeddingsConfig(), FEATURES) == ["tags", "hist_video"]


def test_an_override_that_matches_nothing_is_rejected() -> None:
    config = EmbeddingsConfig.model_validate({"tables": {"vidoe": {"dim": 8}}})
    with pytest.raises(ValueError, match=r"embeddings\.tables\.vidoe: .*user, video, tag, tab"):
        build_tables(config, FEATURES, SIZES)
    with pytest.raises(ValueError, match=r"embeddings\.poolings\.user: .*tags, hist_video"):
        mean_pooled(EmbeddingsConfig(poolings={"user": "sum"}), FEATURES)
