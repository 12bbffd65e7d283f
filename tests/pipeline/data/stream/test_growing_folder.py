"""Files are taken once, in the order in which they become complete."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.sources.config import FilesConfig
from pipeline.data.stream.growing_folder import GrowingFolder
from pipeline.data.stream.window import LogPosition, Window
from pipeline.io.errors import UserError


def write(folder: Path, name: str, rows: int) -> None:
    pl.DataFrame({"x": range(rows)}).write_parquet(folder / name)


def look_twice(log: GrowingFolder, position: LogPosition) -> None:
    log.look(position)
    log.look(position)


def opened(folder: Path) -> GrowingFolder:
    return GrowingFolder(FilesConfig(path=(str(folder),)))


def cut(window: Window | None) -> list[tuple[str, int, int]]:
    assert window is not None
    return [(Path(one.file).name, one.first, one.rows) for one in window.slices]


def test_windows_follow_one_another_over_files(tmp_path: Path) -> None:
    log, start = opened(tmp_path), LogPosition()
    look_twice(log, start)  # an empty folder is no error
    assert log.available(start) == 0
    write(tmp_path, "b.parquet", 5)
    write(tmp_path, "c.parquet", 5)
    log.look(start)
    assert log.available(start) == 0
    log.look(start)
    assert log.available(start) == 10
    first = log.take(start, 7, number=1)
    assert cut(first) == [("b.parquet", 0, 5), ("c.parquet", 0, 2)]
    assert first is not None
    assert (first.lag_rows, first.after.rows, first.after.row) == (3, 7, 2)
    write(tmp_path, "a.parquet", 4)
    look_twice(log, first.after)
    second = log.take(first.after, 6, number=2)
    assert cut(second) == [("c.parquet", 2, 3), ("a.parquet", 0, 3)]
    assert second is not None
    assert second.after.late_rows == 3
    assert log.take(second.after, 2, number=3) is None
    # From the position alone, as after a restart.
    again = opened(tmp_path)
    look_twice(again, first.after)
    assert cut(again.take(first.after, 6, number=2)) == cut(second)
    look_twice(again, second.after)
    third = again.take(second.after, 1, number=3)
    assert cut(third) == [("a.parquet", 3, 1)]
    assert third is not None
    assert sorted(Path(name).name for name in third.after.done) == [
        "a.parquet", "b.parquet", "c.parquet",
    ]  # fmt: skip


def test_a_file_without_its_end_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", 5)
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-8])
    log, start = opened(tmp_path), LogPosition()
    look_twice(log, start)
    assert log.available(start) == 0
    assert "not a complete Parquet file" in next(iter(log.waiting.values()))
    (tmp_path / "a.parquet").write_bytes(whole)
    look_twice(log, start)
    assert log.available(start) == 5
    assert not log.waiting


def test_files_that_change_or_go_are_named(tmp_path: Path) -> None:
    log, start = opened(tmp_path), LogPosition()
    write(tmp_path, "a.parquet", 5)
    look_twice(log, start)
    window = log.take(start, 3, number=1)
    assert window is not None
    whole = log.take(start, 5, number=1)
    assert whole is not None
    write(tmp_path, "a.parquet", 50)
    for position in (start, window.after, whole.after):
        with pytest.raises(UserError, match=r"a\.parquet: has \d+ bytes, not \d+ as when"):
            log.look(position)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(UserError, match="is gone, but only 3 of its rows"):
        log.look(window.after)
    log.look(whole.after)  # all of it has been trained
