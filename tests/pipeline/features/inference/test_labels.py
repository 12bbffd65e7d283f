"""Rules make a label of any column with two values or more, with rows of both classes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.config import LabelConfig
from pipeline.features.inference.labels import find_labels, propose_label
from pipeline.features.inference.profile import profile
from pipeline.io.errors import UserError


@pytest.mark.parametrize(
    ("values", "rule", "made"),
    [
        ([0, 1, None], {}, [0, 1, None]),
        ([True, False], {}, [1, 0]),
        (["0", "1"], {}, [0, 1]),
        (["True", "False"], {"equals": "True"}, [1, 0]),
        (["no", "yes", "yes"], {"equals": "yes"}, [0, 1, 1]),
        (["<=50K", ">50K", "<=50K"], {"equals": ">50K"}, [0, 1, 0]),
        ([-1, 1, 1], {"at_least": 1}, [0, 1, 1]),
        ([1, 2, 3, 4, 5], {"at_least": 3}, [0, 0, 1, 1, 1]),
        ([0.0, 0.0, 0.0, 2.5], {"at_least": 2.5}, [0, 0, 0, 1]),
        (["a", "b", "b", "c"], {"equals": "b"}, [0, 1, 1, 0]),
    ],
)
def test_rules(values: list[Any], rule: dict[str, Any], made: list[int | None]) -> None:
    label = propose_label(profile(pl.Series("y", values)), ())
    assert dict(label.rule) == rule
    assert label.values.to_list() == made
    LabelConfig(**label.rule)


@given(st.lists(st.integers(-5, 5) | st.sampled_from([0.5, 1.5, 1e9]), min_size=2))
def test_both_classes_have_rows(values: list[float]) -> None:
    column = profile(pl.Series("y", values, strict=False))
    if column.distinct < 2:
        with pytest.raises(UserError, match="one value"):
            propose_label(column, ())
    else:
        assert 0 < propose_label(column, ()).rate < 1


def test_labels_are_found_by_name_and_values() -> None:
    frame = pl.DataFrame(
        {"click": [0, 1], "is_rand": [1, 0], "target": ["a", "b"], "like": [3, 3], "x": [0, 1]}
    )
    columns = {one.name: profile(one) for one in frame.get_columns()}
    assert find_labels(columns, ()) == ["click", "target"]
    del columns["click"], columns["target"]
    assert find_labels(columns, ()) == ["is_rand"]
    columns["target"] = profile(pl.Series("target", [1.5, 2.5, 4.0]))
    assert find_labels(columns, ()) == ["target"]


@pytest.mark.parametrize("values", [[[1], [2]], [None, None], [7, 7]])
def test_what_cannot_be_a_label(values: list[Any]) -> None:
    with pytest.raises(UserError, match="--labels: 'y'"):
        propose_label(profile(pl.Series("y", values)), ())
