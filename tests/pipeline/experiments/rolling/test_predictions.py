"""Predictions come back equal, and a user has one number at every origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.data.batch import NO_USER
from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.experiments.rolling.predictions import NAME, Predictions, lasting_users
from pipeline.features.vocabulary import hash_integers
from pipeline.io.errors import UserError
from tests.pipeline.data.prepare.small_kuairand import IN_ORDER, make_log, write_raw
from tests.pipeline.data.prepared import read_all


def test_predictions_come_back_equal_and_damage_is_said(tmp_path: Path) -> None:
    made = Predictions(
        logits_NT=np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
        labels_NT=np.random.default_rng(1).integers(-1, 2, (50, 3)).astype(np.int8),
        users_N=np.arange(50),
    )
    made.save(tmp_path)
    found = Predictions.load(tmp_path)
    assert np.array_equal(found.logits_NT, made.logits_NT)
    assert found.same_rows(made)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        Predictions.load(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        Predictions.load(tmp_path / "nowhere")


@pytest.mark.parametrize("min_count", [1, 30])
def test_a_user_has_one_number_whatever_the_vocabulary(min_count: int, tmp_path: Path) -> None:
    log = make_log()
    out = tmp_path / "out"
    schema = prepare_kuairand(write_raw(tmp_path / "raw", log=log), out, min_count=min_count)
    indices = read_all(out)["user_id"].to_numpy()
    expected = hash_integers(log.sort(IN_ORDER)["user_id"].cast(pl.Int64).to_numpy())
    assert np.array_equal(lasting_users(indices, out, schema), expected)
    assert lasting_users(np.array([NO_USER]), out, schema).tolist() == [NO_USER]
