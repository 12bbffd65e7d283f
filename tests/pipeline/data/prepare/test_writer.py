"""A prepared folder is there as a whole or not at all, and its schema tells the truth about it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.prepare.writer import ShardWriter, new_folder, to_lists
from pipeline.data.schema import Label, Schema, SparseFeature
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.errors import UserError
from pipeline.io.storage import exchange

SPARSE = (
    SparseFeature(name="video", group="item", table="video"),
    SparseFeature(name="history", group="user", table="video", multi=True),
)
LABELS = (
    Label(name="click", column="is_click", category="watch", oracle="oracle_click"),
    Label(name="like", column="is_like", category="interact"),
)
VOCABULARY = Vocabulary("video", pl.Series([7, 8]))


def shard(rows: int, age: float | None = 1.0) -> dict[str, Any]:
    click = np.arange(rows) % 2
    return {
        "video": np.ones(rows, np.int64),
        "history": to_lists(click, np.full(click.sum(), 2)),
        "age": pa.array([age] * rows, pa.float64()),
        "is_click": click,
        "is_like": pa.array([None] * rows, pa.float32()),
        "oracle_click": np.full(rows, 0.5),
    }


def shard_writer(folder: Path, rows_per_group: int = 10) -> ShardWriter:
    return ShardWriter(
        folder, sparse=SPARSE, dense=["age"], labels=LABELS, rows_per_group=rows_per_group
    )


def finish(writer: ShardWriter) -> Schema:
    return writer.finish(
        dataset="d", command="prepare d", user_column="video", vocabularies=[VOCABULARY]
    )


def test_columns_have_the_types_the_schema_promises(tmp_path: Path) -> None:
    writer = shard_writer(tmp_path)
    writer.write("train", "0", shard(5))
    schema = finish(writer)
    assert Schema.load(tmp_path) == schema
    (file,) = schema.splits["train"].files
    floats = ("age", "is_click", "is_like", "oracle_click")
    assert pq.read_schema(tmp_path / file).remove_metadata() == pa.schema(
        {"video": pa.int64(), "history": pa.list_(pa.int64())} | dict.fromkeys(floats, pa.float32())
    )
    table = pq.read_table(tmp_path / file)
    assert table["history"].to_pylist() == [[], [2], [], [2], []]
    assert schema.tables[0].vocab_size == 3
    assert "prepare d" in schema.made_by


@pytest.mark.parametrize(("rows", "groups"), [(1, [1]), (10, [10]), (14, [14]), (36, [9] * 4)])
def test_row_groups_are_of_equal_size(tmp_path: Path, rows: int, groups: list[int]) -> None:
    writer = shard_writer(tmp_path, rows_per_group=10)
    writer.write("val", "0", shard(rows))
    footer = pq.read_metadata(tmp_path / "val/part-0.parquet")
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == groups


def test_splits_count_rows_and_positives_and_list_files_in_order(tmp_path: Path) -> None:
    writer = shard_writer(tmp_path)
    for stem, rows in (("20220502-1", 4), ("20220501-2", 6), ("20220502-0", 1)):
        writer.write("train", stem, shard(rows))
    schema = finish(writer)
    train = schema.splits["train"]
    assert train.rows == 11
    assert train.positives == {"click": 5, "like": 0}
    assert [name[-18:-8] for name in train.files] == ["20220501-2", "20220502-0", "20220502-1"]
    assert schema.splits["test"].rows == 0
    assert schema.splits["test"].files == ()


def test_mean_and_deviation_are_of_the_train_split_without_nulls(tmp_path: Path) -> None:
    writer = shard_writer(tmp_path)
    for split, age in (("train", 1.0), ("train", 5.0), ("train", None), ("val", 100.0)):
        number = len(list(tmp_path.rglob("*.parquet")))
        writer.write(split, str(number), shard(4, age))  # type: ignore[arg-type]
    (age_feature,) = finish(writer).dense
    assert (age_feature.mean, age_feature.std) == (3.0, 2.0)


@pytest.mark.parametrize("age", [None, 7.0])
def test_a_number_without_spread_keeps_its_scale(tmp_path: Path, age: float | None) -> None:
    writer = shard_writer(tmp_path)
    writer.write("train", "0", shard(4, age))
    (age_feature,) = finish(writer).dense
    assert (age_feature.mean, age_feature.std) == (age or 0.0, 1.0)


def test_a_new_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "schema.json").write_text("{}", encoding="utf-8")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(out.parent.stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "schema.json").write_text("{}", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail()
    assert not any(tmp_path.iterdir())


def prepared(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "schema.json").write_text(content, encoding="utf-8")
    return path


def test_overwriting_replaces_all_of_the_old_folder(tmp_path: Path) -> None:
    out = prepared(tmp_path / "out", "old")
    (out / "extra").write_text("old", encoding="utf-8")
    with new_folder(out, overwrite=True) as folder:
        (folder / "schema.json").write_text("new", encoding="utf-8")
        assert (out / "schema.json").read_text(encoding="utf-8") == "old"
    assert [path.name for path in out.iterdir()] == ["schema.json"]
    assert (out / "schema.json").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_old_folder_survives_a_failed_overwrite(tmp_path: Path) -> None:
    out = prepared(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), new_folder(out, overwrite=True):
        raise RuntimeError
    assert (out / "schema.json").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("swaps", [True, False])  # False: a file system that cannot swap names
@pytest.mark.parametrize("moment", range(4))
def test_one_of_both_is_there_whenever_a_signal_comes(
    moment: int, swaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prepared(tmp_path / "out", "old")
    changes = iter(range(10))
    rename, swap = Path.rename, exchange

    def change(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*paths: Path) -> Any:
            if next(changes) == moment:
                raise KeyboardInterrupt
            return real(*paths)

        return call

    monkeypatch.setattr(Path, "rename", change(rename))
    fake = change(swap) if swaps else lambda *paths: False
    monkeypatch.setattr("pipeline.data.prepare.writer.exchange", fake)
    with suppress(KeyboardInterrupt), new_folder(out, overwrite=True) as folder:
        (folder / "schema.json").write_text("new", encoding="utf-8")
    assert (out / "schema.json").read_text(encoding="utf-8") in ("old", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    out = prepared(tmp_path / "out", "old")
    with pytest.raises(UserError, match="already exists"), new_folder(out):
        pytest.fail("the work had begun")


def test_nothing_is_overwritten_that_came_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="already exists"), new_folder(out):
        prepared(out, "first")
    assert (out / "schema.json").read_text(encoding="utf-8") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_prepared_folders_are_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    with (
        pytest.raises(UserError, match="not a prepared folder"),
        new_folder(tmp_path, overwrite=True),
    ):
        pytest.fail("the work had begun")
    assert (tmp_path / "thesis.tex").exists()


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "schema.json").write_text("{}", encoding="utf-8")
    assert (tmp_path / "out" / "schema.json").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(UserError, match="cannot write there"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pytest.fail("the work had begun")


def full_disk(folder: Path) -> Path:
    """A file that cannot grow. By a link: Arrow removes what it could not write."""
    link = folder / "shard"
    link.symlink_to("/dev/full")
    return link


def write_text(folder: Path) -> None:
    full_disk(folder).write_text("x", encoding="utf-8")


def write_polars(folder: Path) -> None:
    pl.DataFrame({"x": range(9)}).lazy().sink_parquet(full_disk(folder))


def write_arrow(folder: Path) -> None:
    pq.write_table(pa.table({"x": range(9)}), full_disk(folder))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("write", [write_text, write_polars, write_arrow])
def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(tmp_path: Path, write: Any) -> None:
    with pytest.raises(UserError, match="no space left"), new_folder(tmp_path / "out") as folder:
        write(folder)
    assert not any(tmp_path.iterdir())
