"""A feature program against a reference in plain Python, row by row."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.features.checks import bad_rows, describe
from pipeline.features.config import FeatureConfig, LabelConfig
from pipeline.features.fit import fit_frame
from pipeline.features.fitted import Fitted
from pipeline.features.program import FeatureProgram, label_column
from pipeline.features.values import hashed
from tests.pipeline.data.table.tables import FEATURES, LABELS, table

FRAME = table(300)
CHOSEN = FEATURES | {
    "user": {"type": "id", "group": "user", "ids": {"vocabulary": {"min_count": 6}}}
}


def program(frame: pl.DataFrame, features: dict[str, Any], labels: Any = LABELS) -> FeatureProgram:
    return FeatureProgram(
        {name: FeatureConfig.model_validate(one) for name, one in features.items()},
        {name: LabelConfig.model_validate(one) for name, one in labels.items()},
        frame.schema,
    )


def hash_of(word: str) -> int:
    return int(pl.select(hashed(pl.lit(word))).item())


@pytest.fixture(scope="module")
def encoded() -> tuple[pl.DataFrame, Fitted]:
    found = program(FRAME, CHOSEN)
    fitted = fit_frame(found, FRAME)
    return found.encode(FRAME, fitted), fitted


def vocabulary(values: list[str], min_count: int) -> dict[str, int]:
    counts = Counter(values)
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    return {word: index for index, (_, word) in enumerate(kept, start=1)}


def index(word: str | None, known: dict[str, int]) -> int:
    if word is None:
        return 0
    return known.get(word, len(known) + 1 + hash_of(word))


def test_ids(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, _ = encoded
    users = [None if value is None else str(value) for value in FRAME["user"]]
    known = vocabulary([user for user in users if user is not None], 6)
    assert found["user"].to_list() == [index(user, known) for user in users]
    assert max(found["user"]) > len(known)  # some are unknown
    assert found["item"].to_list() == [hash_of(item) % 100 + 1 for item in FRAME["item"]]
    assert found["hour"].to_list() == [
        index(str(value.hour), vocabulary([str(v.hour) for v in FRAME["time"]], 2))
        for value in FRAME["time"]
    ]


def test_lists_share_a_vocabulary(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, _ = encoded
    tags = [[str(tag) for tag in one or []][-3:] for one in FRAME["tags"].to_list()]
    words = [one.split("|") if one else [] for one in FRAME["words"]]
    known = vocabulary([word for one in (*tags, *words) for word in one], 2)
    for name, lists in (("tags", tags), ("words", words)):
        assert found[name].to_list() == [[index(word, known) for word in one] for one in lists]


def test_crossed_ids(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, _ = encoded
    for user, age, value in zip(FRAME["user"], FRAME["age"], found["user_x_hour"], strict=True):
        parts = ["" if part is None else str(part) for part in (user, age)]
        assert value == (hash_of("\x1f".join(parts)) % 50 + 1 if any(parts) else 0)


def test_numbers(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, fitted = encoded
    ages = [None if age is None else math.log1p(min(max(age, 0), 80)) for age in FRAME["age"]]
    np.testing.assert_allclose(
        found["age"].fill_null(-1).to_numpy(),
        [-1 if age is None else age for age in ages],
        rtol=1e-6,
    )
    known = np.array([age for age in ages if age is not None], dtype=np.float32)
    assert fitted.standards["age"].mean == pytest.approx(known.mean(dtype=np.float64))
    assert fitted.standards["age"].std == pytest.approx(known.std(dtype=np.float64))
    prices = FRAME["price"].fill_null(0).to_numpy().astype(np.float32)
    np.testing.assert_array_equal(found["price"].to_numpy(), prices)
    # Without standardise, the mean is filled in here.
    assert found["price_mean"].null_count() == 0
    missing = FRAME["price"].is_null()
    mean = np.float32(fitted.standards["price_mean"].mean)
    assert set(found["price_mean"].filter(missing)) == {mean}


def test_quantiles(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, _ = encoded
    ages = FRAME["age"].to_list()
    known = sorted(age for age in ages if age is not None)
    limits = sorted({known[-(-k * len(known) // 7)] for k in range(1, 7)})
    wanted = [0 if age is None else 1 + sum(age >= limit for limit in limits) for age in ages]
    assert found["age_range"].to_list() == wanted


def test_labels_by_rule(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    found, _ = encoded
    rows = FRAME.to_dicts()
    stays = [row["stay"] and float(row["stay"] >= 8) for row in rows]
    teens = [row["age"] and float(row["age"] in (13, 14, 15)) for row in rows]
    for task, wanted in (
        ("stayed", stays),
        ("teen", teens),
        ("click", [row["click"] for row in rows]),
    ):
        assert found[label_column(task)].to_list() == wanted


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"equals": 1}, [1.0, 0.0, 1.0, None]),
        ({"equals": "1"}, [1.0, 0.0, 0.0, None]),
        ({"in": ["b", 1.0]}, [1.0, 1.0, 1.0, None]),
    ],
)
def test_rules_compare_numbers_and_text(rule: dict[str, Any], wanted: list[float | None]) -> None:
    frame = pl.DataFrame({"x": ["1", "b", "1.0", None]})
    found = program(frame, {"x": {"type": "id"}}, {"y": {"column": "x", **rule}})
    assert found.raw(frame)["label.y"].to_list() == wanted


def test_bad_values_are_named() -> None:
    frame = pl.DataFrame(
        {
            "n": [1.0, float("inf"), -3.0, None],
            "t": ["2026-05-01", "soon", None, "2026-05-02"],
            "ids": [[1, 2], [1], [], [3]],
            "ws": [[1.0, 2.0], [1.0, 2.0], [], [float("nan")]],
            "y": [0, 2, None, 1],
        }
    )
    found = program(
        frame,
        {
            "n": {"type": "number", "transform": ["log1p"]},
            "t": {"type": "id", "part": "weekday"},
            "ids": {"type": "weighted_ids", "weights": "ws"},
        },
        {"y": {}},
    )
    is_bad, failed = bad_rows(frame, found.checks)
    assert is_bad is not None
    assert is_bad.to_list() == [False, True, True, True]
    described = describe(frame, found.checks, failed, 10)
    assert [(one.row, one.column, one.value) for one in described] == [
        (1, "n", "inf"),
        (1, "t", "'soon'"),
        (1, "ws", "[1.0, 2.0]"),
        (1, "y", "2"),
        (2, "n", "-3.0"),
        (3, "ws", "[nan]"),
    ]
    assert len(describe(frame, found.checks, failed, 2)) == 2


def test_a_list_is_no_id() -> None:
    with pytest.raises(ValueError, match="tags: column 'tags' is a list"):
        program(FRAME, {"tags": {"type": "id"}})


def test_one_row_at_a_time_gives_the_same(encoded: tuple[pl.DataFrame, Fitted]) -> None:
    whole, fitted = encoded
    found = program(FRAME, CHOSEN)
    parts = [found.encode(FRAME[start : start + 1], fitted) for start in range(20)]
    assert pl.concat(parts).equals(whole[:20])
