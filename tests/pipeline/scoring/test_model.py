"""Scores of a model folder: of each row alone, by request as by table; invalid values are named."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from pipeline.io.errors import UserError
from pipeline.scoring.columns import Ids, column_types, row_text
from pipeline.scoring.model import ROWS as AT_ONCE
from pipeline.scoring.model import ExportedModel, parts_of
from tests.pipeline.exported import FRAME, ROWS


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ExportedModel:
    return ExportedModel.load(model_folder)


def test_loading_and_scoring_need_no_torchrec(model_folder: Path, tmp_path: Path) -> None:
    FRAME.head(10).write_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, pyarrow.parquet as pq\n"
        "from pipeline.scoring.model import ExportedModel\n"
        f"model = ExportedModel.load({str(model_folder)!r})\n"
        f"assert model.score(pq.read_table({str(tmp_path / 'rows.parquet')!r})).shape == (10, 3)\n"
        "heavy = ('torchrec', 'fbgemm_gpu', 'torch._inductor', 'pipeline.training')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_the_score_of_a_row_does_not_depend_on_the_others(model: ExportedModel) -> None:
    rows = pa.concat_tables([ROWS, ROWS])
    whole = model.score(rows)
    assert whole.dtype == np.float32
    assert len(rows) > AT_ONCE
    for start, stop in ((0, 0), (0, 1), (7, 9), (AT_ONCE - 1, AT_ONCE + 1)):
        part = model.score(rows.slice(start, stop - start))
        assert part.shape == (stop - start, 3)
        np.testing.assert_allclose(part, whole[start:stop], rtol=0, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(model.score(rows.take(order)), whole[order], rtol=0, atol=1e-6)


def test_scores_do_not_depend_on_how_rows_are_cut(
    model: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, items = (
        ROWS.select(["user", "tags", "weights"]).slice(3, 1),
        ROWS.drop_columns(["user", "tags", "weights"]),
    )
    tables, requests = model.score(ROWS), model.score_request(user, items)
    monkeypatch.setattr("pipeline.scoring.model.VALUES", 20)
    np.testing.assert_allclose(model.score(ROWS), tables, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.score_request(user, items), requests, rtol=0, atol=1e-6)


def test_parts_have_few_values_or_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scoring.model.VALUES", 10)
    monkeypatch.setattr("pipeline.scoring.model.ROWS", 4)
    lengths = torch.tensor([3, 2, 30, 0, 0, 0, 0, 0, 8])
    ids = Ids(torch.arange(int(lengths.sum())), lengths)
    parts = list(parts_of({"a": ids}, torch.zeros(len(lengths), 1), 2))
    assert [len(dense) for _, dense in parts] == [2, 1, 4, 1, 1]
    assert torch.equal(torch.cat([part["a"].values_L for part, _ in parts]), ids.values_L)


@pytest.mark.parametrize(
    "of_user", [("user", "time", "tags", "weights"), ("user",), ("age", "price"), ("time",)]
)
def test_a_request_scores_as_its_rows(model: ExportedModel, of_user: tuple[str, ...]) -> None:
    """User columns once, each item with them: tags are a history, whose candidate is of items."""
    items = pl.concat([FRAME, FRAME]).drop(of_user).head(AT_ONCE + 40)
    for number in (3, 4):  # with and without values
        user = FRAME[number].select(of_user)
        joined = items.with_columns(one.new_from_index(0, len(items)) for one in user)
        unknown, once = Counter[str](), Counter[str]()
        expected = model.score(joined.to_arrow(), unknown)
        found = model.score_request(user.to_arrow(), items.to_arrow(), once)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        assert once.keys() <= unknown.keys()
    assert model.score_request(user.to_arrow(), items.head(0).to_arrow()).shape == (0, 3)
    with pytest.raises(UserError, match="user: 2 rows; give one row"):
        model.score_request(FRAME.head(2).select(of_user).to_arrow(), items.to_arrow())


def test_prepared_rows_score_as_raw_ones(model: ExportedModel) -> None:
    prepared = model.encode(ROWS)
    assert set(column_types(model.manifest)) <= set(prepared.column_names)
    np.testing.assert_array_equal(model.score_prepared(prepared), model.score(ROWS))


def test_ids_outside_the_vocabulary_are_counted(model: ExportedModel) -> None:
    rows = FRAME.head(20).with_columns(user=pl.Series([10**12 + n for n in range(20)]))
    assert model.unknown_ids(rows.to_arrow())["user"] == 20
    counts = Counter[str]()
    model.score(rows.to_arrow(), counts)
    assert counts["user"] == 20


def test_what_a_table_lacks_or_holds_wrongly_is_named(model: ExportedModel) -> None:
    with pytest.raises(UserError, match="no column 'item', which feature 'item' needs"):
        model.score(ROWS.drop_columns(["item"]))
    bad = FRAME.head(3).with_columns(price=pl.Series([1.0, float("inf"), 2.0]))
    with pytest.raises(UserError, match=r"row 1 \(from 0\), column 'price': inf is "):
        model.score(bad.to_arrow())
    text = FRAME.head(3).with_columns(age=pl.Series(["1", "x", "2"]))
    with pytest.raises(UserError, match=r"row 1 \(from 0\), column 'age': 'x' is "):
        model.score(text.to_arrow())


def test_prepared_values_that_have_no_meaning_are_named(model: ExportedModel) -> None:
    prepared = model.encode(ROWS.slice(0, 4))

    def replaced(name: str, values: pa.Array) -> pa.Table:
        return prepared.set_column(prepared.column_names.index(name), name, values)

    with pytest.raises(UserError, match=r"row 2 \(from 0\), column 'user': -1 is a negative index"):
        model.score_prepared(replaced("user", pa.array([1, 2, -1, 3])))
    huge = pa.array([1, 2**63 - 1, 0, None])
    assert np.isfinite(model.score_prepared(replaced("user", huge))).all()
    with pytest.raises(UserError, match="column 'age_range': 99 is outside the vocabulary"):
        model.score_prepared(replaced("age_range", pa.array([1, 2, 3, 99])))
    with pytest.raises(UserError, match="column 'user': string cannot be read as int64"):
        model.score_prepared(replaced("user", pa.array(["a", "b", "c", "d"])))
    weights = replaced("weights.weighted", pa.array([[1.0] * 9] * 4, pa.list_(pa.float32())))
    with pytest.raises(UserError, match=r"column 'weights\.weighted': 9 is its number of weights"):
        model.score_prepared(weights)
    with pytest.raises(UserError, match="no column 'price', which the model needs"):
        model.score_prepared(prepared.drop_columns(["price"]))


def test_histories_of_one_event_have_equal_lengths(model: ExportedModel) -> None:
    attention = model.manifest.attention.model_copy(update={"events": {"e": {"a": "x", "b": "x"}}})
    manifest = model.manifest.model_copy(update={"attention": attention})
    paired = replace(model, manifest=manifest)
    none = torch.zeros(3, dtype=torch.int64)
    ids = {"a": Ids(none, torch.tensor([2, 1])), "b": Ids(none, torch.tensor([2, 2]))}
    with pytest.raises(UserError, match=r"row 1 .*'b': has 2 values, but 'a'.* has 1"):
        paired._check_events(ids, row_text)
    ids["b"] = Ids(none, torch.tensor([2, 1]))
    paired._check_events(ids, row_text)
