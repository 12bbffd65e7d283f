"""A check counts exactly what is in a table, however its rows are cut into files."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.check_table.check import check_table
from pipeline.data.check_table.result import CheckResult, FeatureCheck
from pipeline.data.schema import SPLITS
from pipeline.data.table.prepare import prepare_table
from tests.pipeline.data.table.tables import silent, spec, table

ROWS = 600

pytestmark = pytest.mark.usefixtures("small_chunks")

_BAD: dict[str, tuple[Any, str]] = {
    "price": (float("inf"), "not a finite number of float32"),
    "click": (2, "not a label (0 or 1) of task 'click'"),
    "importance": (-1.0, "not a row weight, a number >= 0"),
    "time": (None, "no time"),
}


def _write(frame: pl.DataFrame, folder: Path, cuts: list[int]) -> list[Path]:
    ends = sorted({0, len(frame), *(cut % len(frame) for cut in cuts)})
    paths = []
    for index, (start, stop) in enumerate(pairwise(ends)):
        paths.append(folder / f"part-{index:03}.parquet")
        frame[start:stop].write_parquet(paths[-1], row_group_size=41 + 100 * (index % 3))
    return paths


def _check(frame: pl.DataFrame, cuts: list[int], **changes: Any) -> CheckResult:
    with TemporaryDirectory() as folder:
        return check_table(spec(_write(frame, Path(folder), cuts), **changes), silent)


def _feature(found: CheckResult, name: str) -> FeatureCheck:
    return next(one for one in found.features if one.name == name)


def _texts(found: CheckResult, what: str) -> list[str]:
    return [one.text for one in found.findings if one.what == what]


@settings(max_examples=15, deadline=None)
@given(
    bad=st.dictionaries(
        st.sampled_from(sorted(_BAD)), st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=25)
    ),
    cuts=st.lists(st.integers(1, ROWS), max_size=4),
    on_bad_row=st.sampled_from(["stop", "skip"]),
)
def test_every_planted_fault_is_found(
    bad: dict[str, set[int]], cuts: list[int], on_bad_row: str
) -> None:
    frame = table(ROWS)
    for column, rows in bad.items():
        planted = pl.Series(sorted(rows))
        value = pl.lit(_BAD[column][0], dtype=frame.schema[column])
        is_bad = pl.int_range(len(frame)).is_in(planted.implode())
        frame = frame.with_columns(pl.when(is_bad).then(value).otherwise(column).alias(column))
    found = _check(frame, cuts, on_bad_row=on_bad_row)
    assert found.rows == ROWS
    assert found.bad_rows == len(set().union(*bad.values()))
    assert sum(found.splits.values()) == ROWS - found.bad_rows
    kinds = {one.column: one for one in found.bad_values}
    assert kinds.keys() == bad.keys()
    ends = sorted({0, ROWS, *(cut % ROWS for cut in cuts)})
    for column, rows in bad.items():
        assert (kinds[column].what, kinds[column].count) == (_BAD[column][1], len(rows))
        places = []
        for row in sorted(rows)[:10]:
            file = max(index for index, end in enumerate(ends) if end <= row)
            places.append((f"part-{file:03}.parquet", f"row {row - ends[file]} (from 0)"))
        first = [one.where.rpartition(": ") for one in kinds[column].first]
        assert [(Path(where).name, row) for where, _, row in first] == places
    severities = {one.severity for one in found.findings if one.what == "bad rows"}
    assert severities == ({"error" if on_bad_row == "stop" else "warning"} if bad else set())


_WHOLE = table(ROWS, seed=1).with_columns(
    price=pl.when(pl.int_range(ROWS) % 97 == 5).then(float("nan")).otherwise("price"),
    age=pl.when(pl.int_range(ROWS) % 150 == 7).then(-200).otherwise("age"),
)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, ROWS), max_size=6))
def test_any_cut_into_files_gives_the_same_result(cuts: list[int]) -> None:
    whole, parts = _check(_WHOLE, []), _check(_WHOLE, cuts)
    plain = {"bad_values"}
    assert parts.model_dump(exclude=plain) == whole.model_dump(exclude=plain)
    assert [(one.column, one.count) for one in parts.bad_values] == [
        (one.column, one.count) for one in whole.bad_values
    ]


def test_labels_are_those_of_a_prepared_folder(tmp_path: Path) -> None:
    paths = _write(table(ROWS), tmp_path, [250])
    found = check_table(spec(paths), silent)
    schema = prepare_table(spec(paths), tmp_path / "data", progress=silent)
    for split, info in schema.splits.items():
        assert found.splits[split] == info.rows
        for task, splits in found.labels.items():
            assert splits[split].positives == info.positives[task]
            assert splits[split].missing == info.missing[task]
    assert sum(one.rows for one in found.periods) == ROWS
    assert found.period == "day"
    # Index 0 is 'missing'.
    sizes = {one.name: one.vocab_size - 1 for one in schema.tables}
    user = _feature(found, "user")
    assert user.rare is not None
    assert sizes["user"] == user.distinct - user.rare


def _values(frame: pl.DataFrame, column: str) -> dict[str, list[Any]]:
    split = (
        pl.when(pl.col("time") >= pl.datetime(2026, 5, 13))
        .then(pl.lit("test"))
        .when(pl.col("time") >= pl.datetime(2026, 5, 12))
        .then(pl.lit("val"))
        .otherwise(pl.lit("train"))
    )
    found = frame.select(column, split=split)
    return {name: found.filter(split=name)[column].to_list() for name in SPLITS}


def test_ids_against_plain_python() -> None:
    frame = table(ROWS, seed=3)
    found = _check(frame, [100])
    for name, min_count in (("user", 3), ("item", 1)):
        values = _values(frame, name)
        known = {split: [one for one in some if one is not None] for split, some in values.items()}
        counts = Counter(known["train"])
        one = _feature(found, name)
        assert one.exact
        assert one.distinct == len(counts)
        if name == "user":
            assert one.rare == sum(count < min_count for count in counts.values())
        assert one.unseen is not None
        for split, some in known.items():
            unseen = sum(counts[value] < min_count for value in some)
            assert one.unseen[split] == pytest.approx(unseen / len(some))
            missing = len(values[split]) - len(some)
            assert one.missing[split] == pytest.approx(missing / len(values[split]))


def test_lists_that_share_a_table_are_known_by_either() -> None:
    frame = table(ROWS, seed=4)
    rare = pl.int_range(ROWS) == int(frame["time"].arg_min() or 0)
    frame = frame.with_columns(
        tags=pl.when(rare).then(pl.lit([7777])).otherwise("tags"),
        words=pl.when(rare).then(pl.lit("7777|8888")).otherwise("words"),
    )
    found = _check(frame, [])
    assert _feature(found, "tags").rare == 0
    assert _feature(found, "words").rare == 1


def test_numbers_filled_in_are_missing() -> None:
    frame = table(ROWS)
    missing = _feature(_check(frame, []), "price").missing
    for split, values in _values(frame, "price").items():
        share = sum(value is None for value in values) / len(values)
        assert missing[split] == pytest.approx(share)


def test_duplicates_are_counted_within_and_between_splits() -> None:
    frame = table(200)
    frame = pl.concat([frame, frame[:50], frame[:20]])
    split = {"by": "random", "val": 0.3, "test": 0.2}
    found = _check(frame, [70, 222], split=split)
    assert found.duplicates.exact
    distinct = {n: _check(frame, [n], split=split).duplicates for n in (1, 130)}
    assert all(one == found.duplicates for one in distinct.values())
    # Split by a column, so that the test knows which row is where.
    place = ["train"] * 200 + ["val"] * 50 + ["train"] * 20
    frame = frame.with_columns(place=pl.Series(place), click=pl.col("click").fill_null(0))
    split = {"by": "column", "column": "place", "val": ["val"], "test": []}
    found = _check(frame, [210], split=split)
    # The column of the split is one that is used, so that copies in val differ.
    assert found.duplicates.repeated == {"train": 20, "val": 0, "test": 0}
    assert found.duplicates.also_in_train == {"val": 0, "test": 0}
    assert _texts(found, "duplicates") == ["20 rows of train (9.09%) repeat another one of train"]
    assert _texts(found, "empty split") == ["test has no rows; change data.split, or add rows"]


def test_rows_of_val_that_are_in_training() -> None:
    frame = pl.concat([table(150)] * 4)
    split = {"by": "random", "val": 0.5, "test": 0.0}
    found = _check(frame, [], split=split)
    train, val = (found.splits[name] for name in ("train", "val"))
    repeated, also = found.duplicates.repeated, found.duplicates.also_in_train
    # Distinct rows of each split, and those of val alone, are the 150 rows.
    only_val = 150 - (train - repeated["train"])
    assert 0 <= val - also["val"] <= 4 * only_val
    assert also["val"] > 0
    assert len(_texts(found, "duplicates")) == 3


def test_a_side_table_without_some_keys(tmp_path: Path) -> None:
    frame = table(ROWS).with_columns(user=pl.col("user").fill_null(0))
    side = tmp_path / "users.parquet"
    pl.DataFrame({"user": range(30), "city": ["a", "b", "c"] * 10}).write_parquet(side)
    features = {"user": {"type": "id"}, "city": {"type": "id"}}
    found = _check(frame, [99], features=features, join=[{"path": str(side), "on": "user"}])
    missed = int((frame["user"] >= 30).sum())
    assert [(one.name, one.missed) for one in found.side_tables] == [(str(side), missed)]
    assert len(_texts(found, "missing keys")) == 1


def test_what_does_not_vary_is_found() -> None:
    frame = table(ROWS).with_columns(
        item=pl.lit("same"),
        price=pl.lit(None, dtype=pl.Float64),
        age=pl.lit(14),
        click=pl.when(pl.col("time") >= pl.datetime(2026, 5, 13)).then(0).otherwise("click"),
    )
    found = _check(frame, [])
    constant = {one.name for one in found.features if one.constant}
    assert constant == {"item", "price", "price_mean", "age", "age_range"}
    assert "price has no value in training" in _texts(found, "constant feature")
    assert "click is 0 in all rows of test that have it" in _texts(found, "constant label")
    assert "teen is 1 in all rows of val that have it" in _texts(found, "constant label")


def test_a_shift_is_found_and_comes_first() -> None:
    later = pl.col("time") >= pl.datetime(2026, 5, 12)
    frame = table(3000).with_columns(
        age=pl.when(later).then(pl.col("age") // 2).otherwise("age"),
        item=pl.when(later).then(pl.lit("i1")).otherwise("item"),
    )
    found = _check(frame, [])
    drifts = {one.name: one.drift["test"] for one in found.features}
    for name in ("age", "age_range", "item"):
        assert (one := drifts[name]) is not None
        assert one.severity == "large", name
    for name in ("price", "tags", "words", "user"):
        assert (one := drifts[name]) is not None
        assert one.severity == "none", name
    psi = [float(text.split("index ")[1].split(",")[0]) for text in _texts(found, "drift")]
    assert psi
    assert found.findings[0].severity == "warning"


def test_new_ids_are_found() -> None:
    later = pl.col("time") >= pl.datetime(2026, 5, 13)
    frame = table(ROWS).with_columns(item=pl.when(later).then(pl.lit("new")).otherwise("item"))
    assert "item: 100% of the values of test" in _texts(_check(frame, []), "unseen ids")


def test_a_time_column_of_its_own() -> None:
    with TemporaryDirectory() as folder:
        paths = _write(table(ROWS), Path(folder), [])
        given = spec(paths, split={"by": "random"})
        assert check_table(given, silent).period == "part of the rows"
        assert check_table(given, silent, time_column="time").period == "day"
