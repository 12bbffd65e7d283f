"""Batches are the same however rows are cut into files, and whenever they are encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.batch import Batch
from pipeline.data.parquet_source import open_batches
from pipeline.data.schema import SPLIT, SPLITS, Schema
from pipeline.data.sources import merge_chunks
from pipeline.data.table.prepare import prepare_table
from pipeline.data.table.spec import TableSpec
from tests.pipeline.data.table.tables import silent, spec, table

ROWS = 900

pytestmark = pytest.mark.usefixtures("small_chunks")


def batches(folder: Path, split: SPLIT = "train", epochs: int = 2) -> list[Batch]:
    schema = Schema.load(folder)
    source = open_batches(
        folder,
        schema,
        split,
        features=schema.sparse,
        tasks=schema.labels,
        hash_rows=schema.hash_rows(20),
        batch_size=50,
        rank=0,
        world_size=1,
        shuffle=split == "train",
        seed=1,
        shuffle_row_groups=3,
    )
    return [batch for _ in range(epochs) for batch in source]


def assert_equal(left: Sequence[Batch], right: Sequence[Batch]) -> None:
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        for name in ("dense", "labels", "weights", "users"):
            assert torch.equal(
                getattr(one, name).nan_to_num(nan=-7.0), getattr(other, name).nan_to_num(nan=-7.0)
            ), name
        assert one.sparse.keys() == other.sparse.keys()
        assert torch.equal(one.sparse.values(), other.sparse.values())
        assert torch.equal(one.sparse.lengths(), other.sparse.lengths())
        assert torch.equal(one.sparse.weights(), other.sparse.weights())


def write(frame: pl.DataFrame, folder: Path, cuts: Sequence[int]) -> list[Path]:
    """Write a frame as one file for each part; the parts' row groups differ, too."""
    ends = sorted({0, len(frame), *(cut % len(frame) for cut in cuts)})
    paths = []
    for index, (start, stop) in enumerate(pairwise(ends)):
        path = folder / f"part-{index:03}.parquet"
        frame[start:stop].write_parquet(path, row_group_size=37 + 100 * (index % 3))
        paths.append(path)
    return paths


def digests(folder: Path) -> dict[str, str]:
    """Return digests of all files but those that name the table's files and chunks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("table.json", "chunks.parquet")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of a table in one file."""
    folder = tmp_path_factory.mktemp("whole")
    table(ROWS).write_parquet(folder / "log.parquet")
    prepare_table(spec(folder / "log.parquet"), folder / "data", progress=silent)
    return folder / "data"


@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=6))
@settings(max_examples=5, deadline=None)
def test_any_cut_into_files_gives_the_same_folder_and_batches(whole: Path, cuts: list[int]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        paths = write(table(ROWS), folder, cuts)
        prepare_table(spec(paths), folder / "data", progress=silent)
        assert digests(folder / "data") == digests(whole)
        prepare_table(spec(paths), folder / "raw", encode="always", progress=silent)
        assert not list((folder / "raw").rglob("part-*"))
        assert_equal(batches(folder / "raw"), batches(whole))


@pytest.mark.parametrize("split", SPLITS)
def test_always_equals_once_in_each_split(whole: Path, tmp_path: Path, split: SPLIT) -> None:
    paths = write(table(ROWS), tmp_path, [400, 401, 800])
    prepare_table(spec(paths), tmp_path / "raw", encode="always", progress=silent)
    assert_equal(batches(tmp_path / "raw", split), batches(whole, split))


@pytest.mark.parametrize("by", ["random", "user", "column"])
def test_any_split_gives_equal_batches(tmp_path: Path, by: str) -> None:
    frame = table(ROWS)
    split = {
        "random": {"by": "random", "val": 0.2, "test": 0.0, "seed": 3},
        "user": {"by": "random", "column": "user"},
        "column": {"by": "column", "column": "age", "val": [20, 21], "test": [30, "31"]},
    }[by]
    folders = []
    for number, cuts in enumerate(([], [1, 700])):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = write(frame, folder, cuts)
        prepare_table(spec(paths, split=split), folder / "data", progress=silent)
        folders.append(folder / "data")
    assert digests(folders[0]) == digests(folders[1])
    rows = {name: one.rows for name, one in Schema.load(folders[0]).splits.items()}
    assert sum(rows.values()) == ROWS
    assert rows["train"] > rows["val"] > 0


@pytest.mark.parametrize("suffix", ["csv", "arrow", "jsonl"])
def test_other_formats_give_the_same_batches(whole: Path, tmp_path: Path, suffix: str) -> None:
    frame = table(ROWS)
    path = tmp_path / f"log.{suffix}"
    changes = {}
    if suffix == "csv":
        # CSV has no lists.
        frame = frame.with_columns(
            pl.col("tags", "weights").cast(pl.List(pl.String)).list.join("|")
        )
        frame.write_csv(path)
        features = spec(path).model_dump(mode="json")["features"]
        for name in ("tags", "weighted"):
            features[name]["separator"] = "|"
        changes = {"features": features}
    elif suffix == "arrow":
        frame.write_ipc(path, record_batch_size=111)
    else:
        frame.write_ndjson(path)
    prepare_table(spec(path, **changes), tmp_path / "data", progress=silent)
    assert_equal(batches(tmp_path / "data"), batches(whole))


def with_bad_rows() -> pl.DataFrame:
    return table(ROWS).with_columns(
        click=pl.when(pl.int_range(pl.len()) % 100 == 7).then(5).otherwise("click")
    )


def test_nothing_in_a_folder_depends_on_merged_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(with_bad_rows(), tmp_path, [300, 808])
    given = spec(paths, on_bad_row="skip")
    made: dict[int, list[bytes]] = {}
    for max_rows in (1, 150, 10_000):
        monkeypatch.setattr(merge_chunks, "MAX_ROWS", max_rows)
        for encode in ("once", "always"):
            prepare_table(given, tmp_path / f"{encode} {max_rows}", encode=encode, progress=silent)
        folder = tmp_path / f"once {max_rows}"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        made[max_rows] = [path.read_bytes() for path in files]
    assert made[1] == made[150] == made[10_000]
    # Also where a folder was made with other chunks than it is read with.
    for max_rows in (1, 150):
        assert_equal(batches(tmp_path / f"always {max_rows}"), batches(tmp_path / "once 1"))


def test_bad_rows_that_are_skipped_leave_equal_batches(tmp_path: Path) -> None:
    frame = with_bad_rows()
    made: list[Path] = []
    for name, cuts in (("a", []), ("b", [300, 808])):
        folder = tmp_path / name
        folder.mkdir()
        paths = write(frame, folder, cuts)
        for encode in ("once", "always"):
            made.append(folder / encode)
            prepare_table(
                spec(paths, on_bad_row="skip"),
                made[-1],
                encode=encode,
                progress=silent,
            )
    first, *others = (batches(folder) for folder in made)
    for other in others:
        assert_equal(first, other)
    rows = sum(one.rows for one in Schema.load(made[0]).splits.values())
    assert rows == ROWS - 9


def test_the_specification_survives_its_file(whole: Path) -> None:
    from pipeline.data.table.folder import load_table

    found = load_table(whole)
    assert found is not None
    assert TableSpec.model_validate_json(found.spec.model_dump_json()) == found.spec
