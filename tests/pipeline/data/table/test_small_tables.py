"""None, one and two of rows, features, files and splits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.data.schema import SPLITS, Schema
from pipeline.data.table.prepare import prepare_table
from pipeline.io.errors import UserError
from tests.pipeline.data.table.tables import FEATURES, LABELS, silent, spec, table
from tests.pipeline.data.table.test_equal_batches import digests


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("encode", ["once", "always"])
def test_few_rows(tmp_path: Path, rows: int, encode: Any) -> None:
    table(rows).write_parquet(tmp_path / "log.parquet")
    found = spec(tmp_path / "log.parquet", split={"by": "random", "val": 0, "test": 0})
    schema = prepare_table(found, tmp_path / "data", encode=encode, progress=silent)
    assert [schema.splits[name].rows for name in SPLITS] == [rows, 0, 0]
    assert Schema.load(tmp_path / "data") == schema


def test_no_rows(tmp_path: Path) -> None:
    table(3)[:0].write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match="the table has no rows"):
        prepare_table(spec(tmp_path / "log.parquet"), tmp_path / "data", progress=silent)
    assert not (tmp_path / "data").exists()


def test_no_training_rows(tmp_path: Path) -> None:
    table(30).write_parquet(tmp_path / "log.parquet")
    split = {"by": "time", "column": "time", "val_from": "2020-01-01"}
    with pytest.raises(UserError, match=re.escape("data.split: no row is in the training split")):
        prepare_table(
            spec(tmp_path / "log.parquet", split=split), tmp_path / "data", progress=silent
        )


@pytest.mark.parametrize("name", FEATURES)
def test_each_feature_alone(tmp_path: Path, name: str) -> None:
    table(40).write_parquet(tmp_path / "log.parquet")
    found = spec(tmp_path / "log.parquet", features={name: FEATURES[name]})
    schema = prepare_table(found, tmp_path / "data", progress=silent)
    assert schema.feature_names == [name]


def test_a_feature_whose_name_torch_keeps(tmp_path: Path) -> None:
    table(40).write_parquet(tmp_path / "log.parquet")
    features = {
        "type": {**FEATURES["item"], "column": "item"},
        "items": FEATURES["user"] | {"column": "user"},
    }
    found = spec(tmp_path / "log.parquet", features=features)
    schema = prepare_table(found, tmp_path / "data", progress=silent)
    assert {one.name: one.table for one in schema.sparse} == {"type": "type_", "items": "items_"}
    assert schema.table("items_").vocab_size > 1


def test_each_value_missing(tmp_path: Path) -> None:
    frame = table(200)
    frame = frame.with_columns(
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in frame.schema.items()
        if name not in ("time", "click", "importance")
    )
    frame.write_parquet(tmp_path / "log.parquet")
    schema = prepare_table(spec(tmp_path / "log.parquet"), tmp_path / "data", progress=silent)
    assert schema.table("user").vocab_size == 1
    assert schema.splits["train"].missing["stayed"] == schema.splits["train"].rows


def test_no_user_and_no_weight(tmp_path: Path) -> None:
    table(100).write_parquet(tmp_path / "log.parquet")
    found = spec(tmp_path / "log.parquet", user=None, weight=None)
    schema = prepare_table(found, tmp_path / "data", progress=silent)
    assert schema.user_column is None
    assert schema.weight_column is None


def test_empty_files_and_row_groups_between_others(tmp_path: Path) -> None:
    frame = table(90)
    paths = []
    for number, part in enumerate((frame[:0], frame[:1], frame[1:1], frame[1:], frame[:0])):
        paths.append(tmp_path / f"{number}.parquet")
        part.write_parquet(paths[-1])
    prepare_table(spec(paths), tmp_path / "parts", progress=silent)
    frame.write_parquet(tmp_path / "all.parquet")
    prepare_table(spec(tmp_path / "all.parquet"), tmp_path / "whole", progress=silent)
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": "usr"}, "no column 'usr'; did you mean 'user'"),
        ({"features": {"agee": {"type": "number"}}}, "no column 'agee'; did you mean 'age'"),
        ({"features": {"tags": {"type": "id"}}}, "features: tags: column 'tags' is a list"),
        ({"features": {"item": {"type": "number"}}}, "row 0 (from 0), column 'item': 'i"),
        ({"labels": {"stay": {}}}, "is not a label (0 or 1) of task 'stay'"),
        ({"split": {"by": "time", "column": "item", "val_from": "2026-05-01"}}, "is no time"),
        (
            {"split": {"by": "time", "column": "time", "val_from": "soon"}},
            "data.split: 'soon' is no time; write one such as 2026-05-01",
        ),
        (
            {
                "split": {
                    "by": "time", "column": "time", "val_from": "2026-05-02",
                    "test_from": "2026-05-01",
                }
            },
            "data.split.test_from: '2026-05-01' is before val_from '2026-05-02'",
        ),
        (
            {
                "features": FEATURES
                | {"words": FEATURES["words"] | {"ids": {"hash": 5}}},
            },
            "tags and words share table 'tag' but differ in ids",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    table(50).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        prepare_table(spec(tmp_path / "log.parquet", **changes), tmp_path / "data", progress=silent)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["log.parquet"]


def test_labels_have_categories(tmp_path: Path) -> None:
    table(60).write_parquet(tmp_path / "log.parquet")
    schema = prepare_table(spec(tmp_path / "log.parquet"), tmp_path / "data", progress=silent)
    categories = {one.name: one.category for one in schema.labels}
    assert categories == dict.fromkeys(LABELS, "all") | {"click": "watch"}
