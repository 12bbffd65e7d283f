"""Files are scored in order, once, and are complete where they appear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline.data.sources.config import FilesConfig
from pipeline.io.errors import UserError
from pipeline.scoring.files import score_files
from pipeline.scoring.model import ExportedModel
from tests.pipeline.exported import FRAME, ROWS, TASKS


def write(folder: Path) -> FilesConfig:
    folder.mkdir()
    FRAME[:900].write_parquet(folder / "a.parquet", row_group_size=250)
    FRAME[900:].write_parquet(folder / "b.parquet", row_group_size=250)
    return FilesConfig(path=(str(folder),))


def test_files_are_scored_in_order_and_once(model_folder: Path, tmp_path: Path) -> None:
    files, out = write(tmp_path / "in"), tmp_path / "out"
    seen: list[tuple[int, int]] = []
    done = score_files(
        model_folder,
        files,
        out,
        keep=("user", "tags"),
        threads=2,
        progress=lambda rows, total: seen.append((rows, total)),
    )
    assert (done.files, done.skipped, done.rows) == (2, 0, 1500)
    assert seen[-1] == (1500, 1500)
    found = pl.concat([pl.read_parquet(out / "a.parquet"), pl.read_parquet(out / "b.parquet")])
    assert found.columns == ["user", "tags", *TASKS, "score"]
    assert found["user"].to_list() == FRAME["user"].to_list()
    model = ExportedModel.load(model_folder)
    expected = model.score(ROWS)
    np.testing.assert_allclose(found.select(TASKS).to_numpy(), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["score"], model.formula(expected), rtol=0, atol=1e-5)
    before = (out / "a.parquet").stat().st_mtime_ns
    (out / "b.parquet").unlink()
    again = score_files(model_folder, files, out, keep=("user", "tags"), threads=1)
    assert (again.files, again.skipped, again.rows) == (1, 1, 600)
    assert (out / "a.parquet").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == ["a.parquet", "b.parquet"]


def test_a_file_is_complete_or_not_there(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, out = write(tmp_path / "in"), tmp_path / "out"
    written: list[int] = []
    write_table = pq.ParquetWriter.write_table

    def dying(self: pq.ParquetWriter, *args: object, **kwargs: object) -> None:
        written.append(1)
        if len(written) == 6:  # in the second file
            raise KeyboardInterrupt
        write_table(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", dying)
        with pytest.raises(KeyboardInterrupt):
            score_files(model_folder, files, out, threads=2)
    assert [path.name for path in out.iterdir()] == ["a.parquet"]
    assert score_files(model_folder, files, out, threads=2).skipped == 1
    assert pq.read_metadata(out / "b.parquet").num_rows == 600


def test_a_bad_value_is_named_by_file_and_row(model_folder: Path, tmp_path: Path) -> None:
    files, out = write(tmp_path / "in"), tmp_path / "out"
    bad = FRAME[900:].with_columns(
        price=pl.when(pl.int_range(600) == 333).then(float("inf")).otherwise(pl.col("price"))
    )
    bad.write_parquet(tmp_path / "in" / "b.parquet", row_group_size=250)
    with pytest.raises(UserError, match=r"b\.parquet: row 333 \(from 0\), column 'price': inf is"):
        score_files(model_folder, files, out, threads=2)
    assert [path.name for path in out.iterdir()] == ["a.parquet"]


def test_files_of_others_are_not_replaced(model_folder: Path, tmp_path: Path) -> None:
    files, out = write(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    FRAME.write_parquet(out / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: is not a file of 'homerec score'"):
        score_files(model_folder, files, out, overwrite=True)
    (out / "b.parquet").unlink()
    score_files(model_folder, files, out)
    with pytest.raises(UserError, match="was scored with another model, input or --keep"):
        score_files(model_folder, files, out, keep=("user",))
    done = score_files(model_folder, files, out, keep=("user",), overwrite=True)
    assert (done.files, done.skipped) == (2, 0)


def test_any_format_of_a_table_is_scored(model_folder: Path, tmp_path: Path) -> None:
    FRAME.drop("tags", "weights").write_csv(tmp_path / "rows.csv")
    without = FilesConfig(path=(str(tmp_path / "rows.csv"),))
    with pytest.raises(UserError, match="no column 'tags'"):
        score_files(model_folder, without, tmp_path / "o")
    FRAME.write_ipc(tmp_path / "rows.arrow")
    FRAME.with_columns(pl.col("time").dt.to_string()).write_ndjson(tmp_path / "rows.jsonl")
    out = tmp_path / "out"
    for name in ("rows.arrow", "rows.jsonl"):
        score_files(model_folder, FilesConfig(path=(str(tmp_path / name),)), out, threads=1)
        found = pl.read_parquet(out / f"{name}.parquet").select(TASKS).to_numpy()
        expected = ExportedModel.load(model_folder).score(ROWS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_an_empty_file_gives_an_empty_one(model_folder: Path, tmp_path: Path) -> None:
    FRAME.head(0).write_parquet(tmp_path / "none.parquet")
    files = FilesConfig(path=(str(tmp_path / "none.parquet"),))
    done = score_files(model_folder, files, tmp_path / "out", keep=("user",))
    assert (done.files, done.rows) == (1, 0)
    found = pq.read_table(tmp_path / "out" / "none.parquet")
    assert found.column_names == ["user", *TASKS, "score"]
    assert len(found) == 0


def test_names_that_clash_are_reported(model_folder: Path, tmp_path: Path) -> None:
    files = write(tmp_path / "in")
    with pytest.raises(UserError, match="--keep click: the output has a column of this name"):
        score_files(model_folder, files, tmp_path / "out", keep=("click",))
    with pytest.raises(UserError, match="no column 'usr'; did you mean 'user'"):
        score_files(model_folder, files, tmp_path / "out", keep=("usr",))
