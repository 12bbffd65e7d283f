"""Statistics of earlier days are what a loop over all earlier rows finds."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.prepare.statistics import EVERYTHING, Key, Ledger, daily, look_up, running

LABELS = {"click": "is_click", "like": "is_like"}
USER = Key(name="user", columns=("user_id",))
PAIR = Key(name="pair", columns=("user_id", "tab"))
TAB = Key(name="tab", columns=("tab",))
DAYS = (20220429, 20220430, 20220501, 20220502, 20220503)
VAL_FROM = 20220502
SMOOTHING = 3.0


def make_rows(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    like = random.integers(2, size=rows).astype(float)
    date = np.array(DAYS)[random.integers(len(DAYS), size=rows)]
    return pl.DataFrame(
        {
            "user_id": random.integers(4, size=rows),
            "tab": random.integers(3, size=rows),
            "date": pl.Series(date, dtype=pl.Int32),
            "is_click": pl.Series(random.integers(2, size=rows), dtype=pl.Float32),
            "is_like": pl.Series(
                [value if known else None for value, known in zip(like, date % 3 > 0, strict=True)],
                dtype=pl.Float32,
            ),
            "frozen_from": pl.Series(np.minimum(date, VAL_FROM), dtype=pl.Int32),
        }
    )


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def naive(rows: pl.DataFrame, key: Key, frozen: tuple[str, ...]) -> list[dict[str, float]]:
    """Row by row, label by label, over every earlier row."""
    everything = rows.to_dicts()
    found = []
    for row in everything:

        def before(label: str | None, row: dict[str, Any] = row) -> list[dict[str, Any]]:
            is_frozen = label in frozen if label else bool(frozen)
            limit = row["frozen_from"] if is_frozen else row["date"]
            return [other for other in everything if other["date"] < limit]

        def of_key(others: list[dict[str, Any]], row: dict[str, Any] = row) -> list[dict[str, Any]]:
            return [o for o in others if all(o[name] == row[name] for name in key.columns)]

        features = {f"stat_{key.name}_shown": math.log1p(len(of_key(before(None))))}
        for label, column in LABELS.items():
            known = [other for other in before(label) if other[column] is not None]
            rate = (sum(other[column] for other in known) + 1) / (len(known) + 2)
            own = of_key(known)
            share = (sum(other[column] for other in own) + SMOOTHING * rate) / (
                len(own) + SMOOTHING
            )
            features[f"stat_{key.name}_{label}"] = logit(share) - logit(rate)
        found.append(features)
    return found


def assert_equal(
    found: pl.DataFrame, rows: pl.DataFrame, key: Key, frozen: tuple[str, ...]
) -> None:
    assert found.columns == list(key.features(tuple(LABELS)))
    for seen, expected in zip(found.to_dicts(), naive(rows, key, frozen), strict=True):
        assert seen == pytest.approx(expected, abs=1e-5)


@settings(max_examples=12, deadline=None)
@given(
    num_rows=st.integers(1, 60),
    seed=st.integers(0, 1000),
    key=st.sampled_from([USER, PAIR, TAB]),
    frozen=st.sampled_from([(), ("click",), ("click", "like")]),
)
def test_features_are_what_a_loop_finds(
    num_rows: int, seed: int, key: Key, frozen: tuple[str, ...]
) -> None:
    rows = make_rows(num_rows, seed)
    known = running(daily(rows, key, LABELS).lazy(), key)
    overall = running(daily(rows, EVERYTHING, LABELS).lazy(), EVERYTHING)
    found = look_up(rows, key, known, overall, tuple(LABELS), frozen=frozen, smoothing=SMOOTHING)
    assert_equal(found, rows, key, frozen)


@settings(max_examples=5, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=3),
    partitions=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_buckets_and_partitions_change_nothing(cuts: list[int], partitions: int, seed: int) -> None:
    rows = make_rows(60, seed)
    borders = [0, *sorted(cuts), 60]
    buckets = [rows[a:b] for a, b in itertools.pairwise(borders) if a < b]
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger", [TAB, PAIR], LABELS, partitions)
        for bucket in buckets:
            ledger.add(bucket)
        ledger.close()
        for key in (TAB, PAIR):
            found = [
                look_up(
                    bucket,
                    key,
                    ledger.known(key, bucket),
                    ledger.known(EVERYTHING, bucket),
                    tuple(LABELS),
                    frozen=(),
                    smoothing=SMOOTHING,
                )
                for bucket in buckets
            ]
            assert_equal(pl.concat(found), rows, key, ())


def test_a_key_never_seen_says_nothing() -> None:
    rows = make_rows(1, 0)
    known = running(daily(rows, USER, LABELS).lazy(), USER)
    overall = running(daily(rows, EVERYTHING, LABELS).lazy(), EVERYTHING)
    found = look_up(rows, USER, known, overall, tuple(LABELS), frozen=(), smoothing=SMOOTHING)
    assert found.row(0) == (0.0, 0.0, 0.0)
