"""Bad files and options of KuaiRand are rejected in one line, and nothing half-made is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.io.errors import UserError
from tests.pipeline.data.prepare.small_kuairand import (
    LOG_NAME,
    USERS_NAME,
    VIDEOS_NAME,
    make_log,
    make_users,
    write_raw,
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "raw")


def error_of(raw: Path, out: Path, **options: Any) -> str:
    """The one line with which `raw` is rejected; nothing may be left behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(UserError) as caught:
        prepare_kuairand(raw, out, **options)
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [LOG_NAME, USERS_NAME, VIDEOS_NAME])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_raw(tmp_path / "raw")
    (folder / name).unlink()
    assert name.split("_")[0] in error_of(folder, tmp_path / "out")


def test_a_folder_without_or_with_too_many_editions_is_rejected(tmp_path: Path) -> None:
    assert "no such folder" in error_of(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "raw").mkdir()
    assert "_pure, _1k, _27k" in error_of(tmp_path / "raw", tmp_path / "out")
    write_raw(tmp_path / "raw")
    write_raw(tmp_path / "raw", edition="1k")
    assert "pure and 1k" in error_of(tmp_path / "raw", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "column"),
    [(LOG_NAME, "long_view"), (USERS_NAME, "onehot_feat7"), (VIDEOS_NAME, "tag")],
)
def test_a_missing_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    folder = write_raw(tmp_path / "raw")
    pl.read_csv(folder / name).drop(column).write_csv(folder / name)
    message = error_of(folder, tmp_path / "out")
    assert name in message
    assert column in message


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        (LOG_NAME, "is_click", "2"),
        (LOG_NAME, "time_ms", "noon"),
        (LOG_NAME, "date", "20221301"),
        (LOG_NAME, "user_id", ""),
        (USERS_NAME, "fans_user_num", "many"),
        (VIDEOS_NAME, "author_id", "me"),
    ],
)
def test_a_bad_value_in_a_late_file_is_named_and_leaves_nothing(
    tmp_path: Path, name: str, column: str, value: str
) -> None:
    folder = write_raw(tmp_path / "raw")
    table = pl.read_csv(folder / name, infer_schema=False)
    (folder / name).unlink()
    table.head(4).write_csv(folder / name.replace("pure", "pure_part1"))
    bad = pl.when(pl.int_range(pl.len()) == 2).then(pl.lit(value)).otherwise(pl.col(column))
    table.slice(4).with_columns(bad.alias(column)).write_csv(
        folder / name.replace("pure", "pure_part2")
    )
    message = error_of(folder, tmp_path / "out")
    assert f"{name.replace('pure', 'pure_part2')}: line 4: column {column}: {value!r}" in message


def test_a_user_twice_is_rejected(tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "raw")
    pl.concat([make_users(), make_users().slice(3, 1)]).write_csv(folder / USERS_NAME)
    assert "user_id: 3 occurs 2 times" in error_of(folder, tmp_path / "out")


def test_splits_without_days_are_rejected_with_the_days_there_are(
    raw: Path, tmp_path: Path
) -> None:
    for options in (
        {"val_from": 20220401},
        {"val_from": 20230101, "test_from": 20230102},
        {"val_from": 20220503, "test_from": 20220505},
    ):
        assert "20220429 to 20220505" in error_of(raw, tmp_path / "out", **options)
    empty = write_raw(tmp_path / "raw", log=make_log().head(0))
    assert "no rows" in error_of(empty, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_from": 20220505}, "val_from: 20220505 must be before test_from"),
        ({"val_from": 20220431}, "val_from: 20220431 is not a day"),
        ({"test_from": 5}, "test_from: 5 is not a day"),
        ({"max_history": 0}, "max_history: 0"),
        ({"min_count": 0}, "min_count: 0"),
    ],
)
def test_options_that_make_no_sense_are_rejected(
    raw: Path, tmp_path: Path, options: dict[str, int], expected: str
) -> None:
    assert expected in error_of(raw, tmp_path / "out", **options)


def test_an_existing_folder_stays_unless_it_may_be_overwritten(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_kuairand(raw, out, min_count=1)
    before = (out / "schema.json").read_bytes()
    assert "already exists" in error_of(raw, out)
    bad = write_raw(tmp_path / "bad")
    (bad / LOG_NAME).write_text("user_id\n1\n", encoding="utf-8")
    error_of(bad, out, overwrite=True)
    assert (out / "schema.json").read_bytes() == before
    prepare_kuairand(raw, out, min_count=3, overwrite=True)
    assert (out / "schema.json").read_bytes() != before


def test_a_crash_half_way_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    def crash(done: int, total: int, what: str) -> None:
        if done == total - 1:
            raise RuntimeError(what)

    with pytest.raises(RuntimeError):
        prepare_kuairand(raw, tmp_path / "out", progress=crash)
    assert not any(tmp_path.iterdir())
