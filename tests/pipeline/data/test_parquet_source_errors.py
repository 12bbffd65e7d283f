"""Bad input is rejected in one line that says where it is, what it is and what to do."""

from __future__ import annotations

import re
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.io.errors import UserError
from tests.pipeline.data.small_folder import TYPES, open_small, random_rows, write_folder

SECOND = "train/part-00001.parquet"  # rows 10 to 19; row groups of 5


def error_of(folder: Path, **options: Any) -> str:
    """The message of the error that opening or reading `folder` ends in."""
    before = threading.active_count()
    with pytest.raises(UserError) as caught:
        list(open_small(folder, **options))
    assert threading.active_count() == before
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder) + "/", "").replace(str(folder), "FOLDER")


def change(folder: Path, column: str, values: pa.Array | None) -> None:
    """Replace (or drop) a column of the second file."""
    table = pq.read_table(folder / SECOND)
    index = table.schema.get_field_index(column)
    table = table.remove_column(index)
    if values is not None:
        table = table.add_column(index, column, values)
    pq.write_table(table, folder / SECOND, row_group_size=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path, random_rows(20))
    return tmp_path


# Values: found while reading, in whichever thread reads.

BAD_VALUES = [
    ("video", -3, "-3 is a negative index; prepare the folder again"),
    ("history", [1, -3], "-3 is a negative index; prepare the folder again"),
    ("age", float("nan"), "nan is not a finite number; use null"),
    ("hour", float("-inf"), "-inf is not a finite number; use null"),
    ("is_like", 0.5, "0.5 is not a label (0 or 1) of task 'like'; use null"),
    ("is_click", float("nan"), "nan is not a label (0 or 1) of task 'click'; use null"),
]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("column", "value", "what"), BAD_VALUES)
def test_a_bad_value_is_named_with_its_file_row_and_column(
    tmp_path: Path, column: str, value: object, what: str, shuffle: bool, num_workers: int
) -> None:
    rows = random_rows(20)
    rows[17][column] = value
    write_folder(tmp_path, rows)
    message = error_of(tmp_path, shuffle=shuffle, num_workers=num_workers)
    assert message.startswith(f"{SECOND}: row 7 (from 0), column {column!r}: {what}")


@pytest.mark.parametrize("value", [-0.25, 1.5, float("nan"), float("inf")])
def test_an_oracle_is_a_probability(tmp_path: Path, value: float) -> None:
    rows = random_rows(20)
    rows[17]["p_click"] = value
    rows[18]["p_click"] = None
    write_folder(tmp_path, rows)
    assert error_of(tmp_path, with_oracle=True) == (
        f"{SECOND}: row 7 (from 0), column 'p_click': {value} is not a true probability (from 0 to "
        "1); use null for unknown ones, and prepare the folder again"
    )
    list(open_small(tmp_path))  # training does not read it


def test_an_oracle_of_another_type_or_none_is_named(folder: Path) -> None:
    change(folder, "p_click", pa.array(["x"] * 10))
    said = f"{SECOND}: column 'p_click' is string, expected float; prepare the folder again"
    assert error_of(folder, with_oracle=True) == said
    change(folder, "p_click", None)
    assert error_of(folder, with_oracle=True).startswith(f"{SECOND}: no column 'p_click'; ")


@pytest.mark.parametrize(("column", "value"), [("tag", 7), ("likes", [4, 7])])
def test_an_id_outside_the_vocabulary_needs_hash_rows(
    tmp_path: Path, column: str, value: object
) -> None:
    rows = [row | {"tag": 4, "likes": None} for row in random_rows(20)]
    rows[12][column] = value
    write_folder(tmp_path, rows)
    assert error_of(tmp_path, hash_rows={"video": 1, "tag": 0}) == (
        f"{SECOND}: row 2 (from 0), column {column!r}: 7 is outside the vocabulary of table 'tag' "
        "(5 rows), which has no hash rows; set --embeddings.hash_rows"
    )


@pytest.mark.parametrize("shuffle", [True, False])
def test_histories_of_one_event_must_be_equally_long(tmp_path: Path, shuffle: bool) -> None:
    rows = [row | {"history": [1, 2], "likes": [3, 4]} for row in random_rows(20)]
    write_folder(tmp_path, rows)
    events = [("history", "likes")]
    assert len(list(open_small(tmp_path, shuffle=shuffle, events=events))) > 0
    rows[12]["likes"] = [3]
    write_folder(tmp_path, rows)
    assert error_of(tmp_path, shuffle=shuffle, events=events) == (
        f"{SECOND}: row 2 (from 0), column 'likes': 1 is its number of values, but 'history', "
        "which model.attention pairs with it, has 2; assign these two features to separate events, "
        "or prepare the folder again"
    )


def test_rows_before_a_bad_one_are_handed_out(tmp_path: Path) -> None:
    rows = random_rows(20)
    rows[17]["video"] = -1
    write_folder(tmp_path, rows)
    source = open_small(tmp_path, batch_size=5, num_workers=2)
    batches = iter(source)
    assert [next(batches).users[0].item() for _ in range(3)] == [0, 5, 10]
    with pytest.raises(UserError, match="row 7"):
        next(batches)
    assert source.step == 3


# Files: found when opening, but for damage inside of one.


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / SECOND).unlink()
    assert error_of(folder) == (
        f"{SECOND}: listed in schema.json, but does not exist; prepare the folder again"
    )


@pytest.mark.parametrize("content", [b"", b"user,video\n1,2\n" * 9])
def test_a_file_that_is_not_parquet_is_named(folder: Path, content: bytes) -> None:
    (folder / SECOND).write_bytes(content)
    assert error_of(folder).startswith(f"{SECOND}: not a Parquet file (")


def test_a_half_written_file_is_named(folder: Path) -> None:
    whole = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(whole[: len(whole) // 2])
    assert error_of(folder).startswith(f"{SECOND}: not a Parquet file (")


def test_a_damaged_row_group_is_named(folder: Path) -> None:
    footer = pq.read_metadata(folder / SECOND)
    column = footer.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray((folder / SECOND).read_bytes())
    content[start : start + 8] = b"\xff" * 8
    (folder / SECOND).write_bytes(content)
    assert re.match(rf"{SECOND}: row groups 1 cannot be read \(.+\); prepare", error_of(folder))


def test_a_missing_column_is_named(folder: Path) -> None:
    change(folder, "video", None)
    assert error_of(folder) == (
        f"{SECOND}: no column 'video'; did you mean 'last_video'?; prepare the folder again"
    )


@pytest.mark.parametrize(
    ("column", "values", "kinds"),
    [
        ("video", pa.array(["a"] * 10), "string, expected int64"),
        ("history", pa.array([1] * 10), "int64, expected list<item: int64>"),
        ("tag", pa.array([[1]] * 10), "list<element: int64>, expected int64"),
        (
            "age",
            pa.array(["1.0"] * 10).dictionary_encode(),
            "dictionary<values=string, indices=int32, ordered=0>, expected float",
        ),
        ("is_like", pa.array([b"1"] * 10), "binary, expected float"),
        ("hour", pa.array([1] * 10, pa.timestamp("ms")), "timestamp[ms], expected float"),
        ("history", pa.array([["a"]] * 10), "list<element: string>, expected list<item: int64>"),
        ("user", pa.array(["a"] * 10), "string, expected int64"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(
    folder: Path, column: str, values: pa.Array, kinds: str
) -> None:
    change(folder, column, values)
    assert error_of(folder) == f"{SECOND}: column {column!r} is {kinds}; prepare the folder again"


def test_a_column_that_is_there_twice_is_named(folder: Path) -> None:
    table = pq.read_table(folder / SECOND)
    pq.write_table(table.append_column("tag", table["tag"]), folder / SECOND)
    assert error_of(folder) == f"{SECOND}: two columns are named 'tag'; prepare the folder again"


@pytest.mark.parametrize(
    ("column", "values", "what"),
    [
        ("video", [1.0] * 7 + [1.5] * 3, "1.5 is not a whole number of 64 bits"),
        ("video", [1.0] * 7 + [float("nan")] * 3, "nan is not a whole number of 64 bits"),
        ("tag", [0] * 7 + [2**63] * 3, f"{2**63} is not a whole number of 64 bits"),
        ("user", [Decimal("0.0")] * 7 + [Decimal("0.5")] * 3, "0.5 is not a whole number"),
        ("likes", [[1.0]] * 7 + [[1.0, 2.5]] * 3, "[1.0, 2.5] is not a list of whole numbers"),
        ("age", [1.0] * 7 + [1e300] * 3, "inf is not a finite number"),
        ("is_like", [1] * 7 + [2] * 3, "2.0 is not a label (0 or 1) of task 'like'"),
    ],
)
def test_a_value_that_another_type_cannot_hold_is_named(
    folder: Path, column: str, values: list[Any], what: str
) -> None:
    change(folder, column, pa.array(values, pa.uint64() if values[-1] == 2**63 else None))
    assert error_of(folder).startswith(f"{SECOND}: row 7 (from 0), column {column!r}: {what}")


def test_a_file_with_other_rows_than_the_schema_says_is_rejected(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SECOND).slice(0, 7), folder / SECOND)
    assert error_of(folder) == (
        "schema.json: split 'train' has 20 rows, but its files (train/part-00000.parquet, "
        "train/part-00001.parquet) have 17: damaged or incomplete; prepare the folder again"
    )


def test_an_empty_split_is_rejected(tmp_path: Path) -> None:
    write_folder(tmp_path, [], split="test", files=1)
    message = error_of(tmp_path, split="test")
    assert message.startswith("FOLDER: split 'test' has no rows; use another split")
    assert error_of(tmp_path, split="val").startswith("FOLDER: split 'val' has no rows")


def test_training_needs_one_batch_on_every_rank(folder: Path) -> None:
    options: dict[str, Any] = {"world_size": 4, "batch_size": 6}
    assert error_of(folder, shuffle=True, **options) == (
        "FOLDER: split 'train' has 20 rows, fewer than one global batch of 24 (4 ranks x 6); "
        "use a smaller batch size or fewer ranks"
    )
    assert len(list(open_small(folder, **options))) == 1


def test_row_groups_without_rows_are_no_trouble(tmp_path: Path) -> None:
    schema = write_folder(tmp_path, random_rows(20))
    path = tmp_path / schema.splits["train"].files[0]
    table = pq.read_table(path, schema=TYPES)
    with pq.ParquetWriter(path, TYPES) as writer:
        for part in (table.slice(0, 0), table.slice(0, 10), table.slice(0, 0)):
            writer.write_table(part)
    assert sum(batch.weights.sum().item() for batch in open_small(tmp_path, shuffle=True)) == 20
