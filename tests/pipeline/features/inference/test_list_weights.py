"""Weights are found by name and length."""

from __future__ import annotations

import polars as pl

from pipeline.features.config import FeatureConfig
from pipeline.features.inference.list_weights import weights_of_lists
from pipeline.features.inference.profile import profile
from pipeline.features.inference.proposal import propose
from pipeline.features.inference.wishes import Wishes


def test_weights_of_lists() -> None:
    frame = pl.DataFrame(
        {
            "tags": [["a", "b"], ["a"], None] * 20,
            "tag_weights": [[0.5, 0.5], [1.5], None] * 20,
            "clips": [["a"], ["b"], ["c"]] * 20,
            "clip_scores": [[0.5, 0.5], [0.5], [1.5]] * 20,  # other lengths
            "vector": [[0.5], [0.25], [0.5]] * 20,
            "click": [0, 1, 1] * 20,
        }
    )
    assert weights_of_lists({one.name: profile(one) for one in frame.get_columns()}) == {
        "tags": "tag_weights"
    }
    found = propose(frame, Wishes())
    first = found.features[0]
    assert dict(first.feature.fields) == {
        "type": "weighted_ids", "weights": "tag_weights", "pooling": "mean",
    }  # fmt: skip
    FeatureConfig(**first.feature.fields)
    reasons = {one.column: one.why for one in found.left_out}
    assert reasons["tag_weights"] == "the weights of tags"
    assert "vector" in reasons
