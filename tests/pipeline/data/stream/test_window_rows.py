"""A window's batches: the good rows of the log in order, shared by any number of ranks."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from pipeline.data.columns import Columns
from pipeline.data.sources.config import FilesConfig
from pipeline.data.stream.growing_folder import GrowingFolder
from pipeline.data.stream.window import LogPosition, Window
from pipeline.data.stream.window_rows import WindowReader, WindowRows
from pipeline.data.table.folder import TableFile, load_table
from pipeline.data.table.prepare import prepare_table
from pipeline.io.errors import UserError
from tests.pipeline.data.table.tables import silent, spec, table

BATCH = 16


def opened(folder: Path, on_bad_row: str) -> tuple[TableFile, Columns]:
    """A data folder's record and columns, made from a table of its own."""
    (folder / "old").mkdir()
    table(300).write_parquet(folder / "old" / "a.parquet")
    made = spec(folder / "old", on_bad_row=on_bad_row)
    schema = prepare_table(made, folder / "data", progress=silent)
    record = load_table(folder / "data")
    assert record is not None
    columns = Columns(
        schema,
        features=schema.sparse,
        tasks=schema.labels,
        hash_rows=schema.hash_rows(8),
        with_oracle=False,
    )
    return record, columns


def new_rows(folder: Path) -> tuple[GrowingFolder, Window]:
    """Two files with a bad row each, and a window of all their rows but 20."""
    (folder / "new").mkdir()
    for name, rows in (("a", 70), ("b", 50)):
        frame = table(rows, seed=rows)
        worst = pl.when(pl.int_range(pl.len()) == 7).then(-1.0).otherwise("importance")
        frame.with_columns(importance=worst).write_parquet(folder / "new" / f"{name}.parquet")
    log = GrowingFolder(FilesConfig(path=(str(folder / "new"),)))
    log.look(LogPosition())
    log.look(LogPosition())
    window = log.take(LogPosition(), 100, number=1)
    assert window is not None
    return log, window


def test_ranks_share_the_good_rows_and_pad_the_last_batch(tmp_path: Path) -> None:
    record, columns = opened(tmp_path, "skip")
    log, window = new_rows(tmp_path)

    def read(rank: int, ranks: int) -> WindowRows:
        reader = WindowReader(
            record,
            tmp_path / "data",
            columns,
            log,
            batch_size=BATCH // ranks,
            rank=rank,
            world_size=ranks,
        )
        return reader.read(window)

    alone = read(0, 1)
    assert alone.bad_rows == 2
    assert len(alone.batches) == -(-98 // BATCH)
    assert [int((one.weights == 0).sum()) for one in alone.batches] == [0] * 6 + [14]
    wanted = pl.concat([table(70, seed=70), table(50, seed=50)[:30]])
    good = wanted.filter(~pl.int_range(pl.len()).is_in([7, 77]))
    weights = torch.cat([one.weights for one in alone.batches])[:98]
    torch.testing.assert_close(weights, torch.tensor(good["importance"].to_list()))
    for ranks in (2, 4):
        parts = [read(rank, ranks) for rank in range(ranks)]
        for step, whole in enumerate(alone.batches):
            of_step = [one.batches[step] for one in parts]
            assert {len(one) for one in of_step} == {BATCH // ranks}
            joined = torch.cat([one.weights for one in of_step])
            torch.testing.assert_close(joined, whole.weights, rtol=0, atol=0)
            real = whole.weights > 0
            single = torch.cat([one.single for one in of_step], dim=1)
            assert torch.equal(single[:, real], whole.single[:, real])


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    record, columns = opened(tmp_path, "stop")
    log, window = new_rows(tmp_path)
    reader = WindowReader(
        record, tmp_path / "data", columns, log, batch_size=BATCH, rank=0, world_size=1
    )
    with pytest.raises(UserError, match=r"a\.parquet: row 7 \(from 0\), column 'importance'"):
        reader.read(window)
