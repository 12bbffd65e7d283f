"""A schema that contradicts itself is rejected before any row is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.schema import Schema
from pipeline.io.errors import UserError

WHOLE: dict[str, Any] = {
    "dataset": "own",
    "made_by": "hand",
    "user_column": "user",
    "sparse": [{"name": "user", "group": "user", "table": "user"}],
    "tables": [{"name": "user", "vocab_size": 10}],
    "dense": [{"name": "age", "mean": 0, "std": 1}],
    "labels": [{"name": "click", "column": "click", "category": "watch"}],
    "splits": {"train": {"rows": 1000, "files": ["train/a.parquet"], "positives": {"click": 50}}},
}


def load(folder: Path, **changes: Any) -> Schema:
    (folder / "schema.json").write_text(json.dumps({**WHOLE, **changes}), encoding="utf-8")
    return Schema.load(folder)


def test_a_split_that_is_not_named_is_empty(tmp_path: Path) -> None:
    schema = load(tmp_path)
    assert schema.splits["test"].rows == schema.splits["val"].rows == 0
    schema.save(tmp_path)
    assert Schema.load(tmp_path) == schema


def test_optional_fields_are_saved_only_if_they_are_there(tmp_path: Path) -> None:
    load(tmp_path).save(tmp_path)
    text = (tmp_path / "schema.json").read_text(encoding="utf-8")
    for field in ("unknown_rows", "pooling", "weight_column", "weights"):
        assert field not in text
    schema = load(
        tmp_path,
        sparse=[*WHOLE["sparse"], user_bag := {**WHOLE["sparse"][0], "name": "a", "multi": True}],
    )
    assert schema.sparse[1].pooling is None
    schema = load(
        tmp_path,
        sparse=[user_bag | {"pooling": "sum"}],
        tables=[{"name": "user", "vocab_size": 10, "unknown_rows": 0}],
    )
    schema.save(tmp_path)
    assert Schema.load(tmp_path) == schema
    assert (schema.sparse[0].pooling, schema.hash_rows(5)) == ("sum", {"user": 0})
    assert load(tmp_path).hash_rows(5) == {"user": 5}


def train(**changes: Any) -> Any:
    return {"train": {"rows": 3, "positives": {"click": 1}} | changes}


WEIGHED = {"splits": train(weights={"rows": 5, "positives": {"click": 2}})}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables": []}, "feature 'user' has table 'user', which is not in tables"),
        ({"sparse": WHOLE["sparse"] * 2}, "feature 'user' is listed twice"),
        ({"labels": WHOLE["labels"] * 2}, "label 'click' is listed twice"),
        ({"splits": {"train": {"rows": 3}}}, "splits.train.positives has no count for .*'click'"),
        ({"splits": {}}, "splits.train.positives has no count for label 'click'"),
        ({"tables": [{"name": "user", "vocab_size": True}]}, "tables: 0: vocab_size: .*integer"),
        ({"tables": [{"name": "user", "vocab_size": 2**63}]}, "vocab_size: .*less than"),
        *(
            (
                {part: [{**WHOLE[part][0], field: name}]},
                f"{part}: 0: {field}: .*(rename|give one)",
            )
            for part, field in (
                ("sparse", "name"),
                ("sparse", "table"),
                ("tables", "name"),
                ("dense", "name"),
                ("labels", "name"),
                ("labels", "category"),
            )
            for name in ("", "video.id", "a b", "a/b")
        ),
        *(
            (
                {
                    "labels": [{**WHOLE["labels"][0], "name": name}],
                    "splits": {"train": {"positives": {name: 0}}},
                },
                f"a label cannot be called '{name}', which logs have; rename it",
            )
            for name in ("loss", "mean", "total")
        ),
        ({"dense": [{"name": "age", "mean": 0, "std": 0}]}, "dense: 0: std: .*greater than "),
        ({"dense": [{"name": "age", "mean": float("nan"), "std": 1}]}, "dense: 0: mean: .*finite"),
        ({"dense": [{"name": "age", "mean": 0, "std": float("inf")}]}, "dense: 0: std: .*finite"),
        ({"dense": [{"name": "age", "mean": 0, "std": 1e300}]}, "dense: 0: std: .*less than"),
        ({"splits": train(rows=-1)}, "splits: train: rows: .*greater than"),
        ({"splits": train(rows=2**63)}, "splits: train: rows: .*less than"),
        ({"splits": train(rows=True)}, "splits: train: rows: .*valid integer"),
        ({"splits": train(positives={"click": -1})}, "positives: click: .*greater than"),
        ({"splits": train(positives={"click": 9})}, "'click' is positive or missing in 9 rows"),
        ({"splits": train(files=["a", "b", "a"])}, "'a' is there twice; list each file once"),
        ({"splits": train(files=["/etc/a"])}, "'/etc/a' is no file in the prepared folder"),
        ({"splits": train(files=["train/../../a"])}, "is no file in the prepared folder"),
        ({"splits": train(files=[""])}, "'' is no file in the prepared folder"),
        (
            {"sparse": [{**WHOLE["sparse"][0], "pooling": "sum"}]},
            "feature 'user' has a pooling, but is not multi; remove it",
        ),
        (
            {"sparse": [{**WHOLE["sparse"][0], "weights": "w"}]},
            "feature 'user' has weights, but is not multi; remove them",
        ),
        *(
            (
                {"sparse": [{**WHOLE["sparse"][0], "name": "bag", "multi": True, "weights": name}]},
                f"column '{name}' is {role} and the weights of 'bag'",
            )
            for name, role in (("age", "feature 'age'"), ("click", "label 'click'"))
        ),
        ({"tables": [{"name": "user", "vocab_size": 9, "unknown_rows": -1}]}, "unknown_rows: .*"),
        (
            {"weight_column": "user", **WEIGHED},
            "weight_column 'user' is the column of another role",
        ),
        ({"weight_column": "click", **WEIGHED}, "weight_column 'click' is the column of another"),
        (
            {"weight_column": "w"},
            "splits.train.weights.positives has no sum for label 'click', which a schema with a "
            "weight_column needs",
        ),
        ({"splits": train(weights={"rows": -1})}, "splits: train: weights: rows: .*greater than"),
        ({"splits": train(weights={"rows": float("inf")})}, "weights: rows: .*finite"),
        ({"user_column": "click"}, "user_column 'click' is the column of another role, too"),
        (
            {"dense": [{"name": "click", "mean": 0, "std": 1}]},
            "column 'click' is feature 'click' and label 'click'; give each its own",
        ),
    ],
)
def test_contradictions_are_named(changes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, **changes)
    assert str(tmp_path / "schema.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"schema\.json: line 1: not UTF-8"):
        Schema.load(tmp_path)


def test_a_key_that_is_given_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"dense": [{"std": 1, "std": 2}]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"schema\.json: key 'std' is given twice; prepare"):
        Schema.load(tmp_path)


def test_a_rate_is_over_known_rows_and_never_certain(tmp_path: Path) -> None:
    train = WHOLE["splits"]["train"]
    assert load(tmp_path).rate("click") == 0.05
    known = {**train, "missing": {"click": 900}}
    assert load(tmp_path, splits={"train": known}).rate("click") == 0.5
    for positives, rate in ((0, 0.001), (1000, 0.999)):
        splits = {"train": {**train, "positives": {"click": positives}}}
        assert load(tmp_path, splits=splits).rate("click") == rate


def test_a_rate_is_weighted(tmp_path: Path) -> None:
    train = WHOLE["splits"]["train"]

    def rate(rows: float, positives: float, missing: float) -> float:
        sums = {"rows": rows, "positives": {"click": positives}, "missing": {"click": missing}}
        splits = {"train": train | {"weights": sums}}
        return load(tmp_path, splits=splits, weight_column="w").rate("click")

    assert rate(50, 10, 0) == 0.2
    assert rate(50, 10, 30) == 0.5
    assert rate(50, 0, 30) == rate(50, 0, 50) == 0.001
    assert rate(50, 50, 0) == 0.999
