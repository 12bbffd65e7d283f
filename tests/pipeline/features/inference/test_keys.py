"""Numbers that tell users or items apart."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.features.inference.keys import find_keys
from pipeline.features.inference.profile import profile

_ROWS, _USERS = 6_000, 900


def _find(frame: pl.DataFrame) -> set[str]:
    columns = {one.name: profile(one) for one in frame.get_columns()}
    return find_keys(columns, list(columns))


def _log() -> pl.DataFrame:
    """Users with an exact income and four attributes, and an amount that recurs by chance."""
    random = np.random.default_rng(0)
    user = random.integers(0, _USERS, _ROWS)
    income = 1_000 + np.arange(_USERS) * 7.5
    attributes = {f"trait_{index}": random.integers(0, 5, _USERS)[user] for index in range(4)}
    amount = random.integers(1, 700, _ROWS)
    return pl.DataFrame({"amount": amount, "income": income[user], **attributes})


def test_a_number_in_whose_rows_most_columns_agree_is_a_key() -> None:
    assert _find(_log()) == {"income"}
    missing = pl.when(pl.int_range(pl.len()) % 3 > 0).then("income").alias("income")
    assert _find(_log().with_columns(missing)) == {"income"}


def test_of_numbers_that_determine_each_other_the_first_is_one() -> None:
    assert _find(_log().with_columns(log=pl.col("income").log())) == {"income"}


def test_few_columns_and_few_rows() -> None:
    assert _find(_log().select("income")) == set()
    assert _find(_log().select("income", "trait_0")) == {"income"}
    for rows in (0, 1, 2):
        assert _find(_log().head(rows)) == set()
