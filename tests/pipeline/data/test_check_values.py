"""A value at fault is named before training, wherever in the split it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.data import check_values
from pipeline.io.errors import UserError
from tests.pipeline.data.small_folder import open_small, random_rows, write_folder
from tests.pipeline.data.test_column_types import WRITERS, small_ids

ROWS = 200
BAD = 187
FAULTS: list[tuple[str, Any]] = [
    ("video", -1),
    ("history", [2, -1]),
    ("age", float("inf")),
    ("hour", float("nan")),
    ("is_click", 2.0),
    ("is_like", 0.5),
    ("is_like", float("nan")),
]


def write(folder: Path, column: str, value: Any, *, statistics: bool = True) -> None:
    """One bad value near the end of the second of two files, ten row groups each."""
    rows = random_rows(ROWS)
    rows[BAD][column] = value
    schema = write_folder(folder, rows, row_group_size=10)
    for name in schema.splits["train"].files:
        table = pq.read_table(folder / name)
        pq.write_table(table, folder / name, row_group_size=10, write_statistics=statistics)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(("column", "value"), FAULTS)
def test_a_bad_value_is_named_by_the_rank_that_finds_it(
    tmp_path: Path, column: str, value: Any, statistics: bool, world_size: int
) -> None:
    write(tmp_path, column, value, statistics=statistics)
    errors = []
    for rank in range(world_size):
        try:
            open_small(tmp_path, rank=rank, world_size=world_size).check_values()
        except UserError as error:
            errors.append(str(error))
    place = f"{tmp_path}/train/part-00001.parquet: row {BAD - 100} (from 0), column {column!r}: "
    assert [error[: len(place)] for error in errors] == [place]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_an_oracle_is_checked_where_it_is_read(
    tmp_path: Path, value: float, statistics: bool
) -> None:
    write(tmp_path, "p_click", value, statistics=statistics)
    assert open_small(tmp_path).check_values() == 1
    with pytest.raises(UserError, match=r"row 87 \(from 0\), column 'p_click': .* probability"):
        open_small(tmp_path, with_oracle=True).check_values()


def test_an_id_outside_the_vocabulary_is_named_where_no_row_is_for_it(tmp_path: Path) -> None:
    rows = [row | {"tag": 1, "likes": None} for row in random_rows(ROWS)]
    rows[BAD]["tag"] = 5
    write_folder(tmp_path, rows, row_group_size=10)
    open_small(tmp_path).check_values()
    with pytest.raises(UserError, match=r"row 87 .*outside the vocabulary of table 'tag'"):
        open_small(tmp_path, hash_rows={"video": 7, "tag": 0}).check_values()


def test_histories_of_one_event_are_compared_in_the_first_row_group(tmp_path: Path) -> None:
    rows = [row | {"history": [1], "likes": [2]} for row in random_rows(ROWS)]
    rows[3]["likes"] = None
    write_folder(tmp_path, rows, row_group_size=10)
    with pytest.raises(UserError, match=r"row 3 \(from 0\), column 'likes': 0 is its number of"):
        open_small(tmp_path, events=[("history", "likes")]).check_values()


@pytest.mark.parametrize("world_size", [1, 2])
def test_of_many_rows_what_statistics_do_not_tell_is_checked_in_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    monkeypatch.setattr(check_values, "ROWS", 50 // world_size)
    found = set()
    for column, value in FAULTS:
        write(tmp_path, column, value)
        try:
            for rank in range(world_size):
                source = open_small(tmp_path, rank=rank, world_size=world_size)
                assert source.check_values() == 50 / ROWS
        except UserError:
            found.add((column, str(value)))
    assert found == {(c, str(v)) for c, v in FAULTS if str(v) not in ("nan", "0.5")}
    # The rest is checked as it is read.
    with pytest.raises(UserError, match="row 87"):
        list(open_small(tmp_path))


def test_good_values_of_any_writer_pass(tmp_path: Path) -> None:
    writers = [rewrite for name, rewrite in WRITERS.items() if name != "nothing but nulls"]
    count = len(writers) * 4
    schema = write_folder(tmp_path, small_ids(count), files=len(writers), row_group_size=2)
    for name, rewrite in zip(schema.splits["train"].files, writers, strict=True):
        pq.write_table(rewrite(pq.read_table(tmp_path / name)), tmp_path / name, row_group_size=2)
    assert open_small(tmp_path).check_values() == 1


@pytest.mark.parametrize("rows", [50, 1_000])
def test_counts_of_the_schema_must_fit_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Exactly where all rows are looked at; else as far as the others leave open."""
    monkeypatch.setattr(check_values, "ROWS", rows)
    schema = write_folder(tmp_path, random_rows(ROWS), row_group_size=10)
    train = schema.splits["train"]
    count = train.positives["like"]
    faults = []
    for other in range(ROWS + 1):
        split = train.model_copy(update={"positives": train.positives | {"like": other}})
        schema.model_copy(update={"splits": schema.splits | {"train": split}}).save(tmp_path)
        try:
            open_small(tmp_path).check_values()
        except UserError as error:
            faults.append(other)
            said = str(error)
    assert count not in faults
    assert {0, ROWS} <= set(faults)
    assert f"splits.train.positives.like is {faults[-1]}, but its files hold " in said
    if rows > ROWS:
        assert len(faults) == ROWS
