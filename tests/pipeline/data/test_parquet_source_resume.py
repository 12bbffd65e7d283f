"""A resumed run sees the batches of an undisturbed one, or with other ranks the rows still due."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.data.batch import Batch
from pipeline.data.parquet_source import ParquetSource
from pipeline.io.errors import UserError
from tests.pipeline.data.small_folder import open_small, random_rows, write_folder
from tests.pipeline.data.test_parquet_source import all_equal, users

ROWS = 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small")
    write_folder(path, random_rows(ROWS), files=3, row_group_size=4)
    return path


def take(source: ParquetSource, count: int) -> list[Batch]:
    """`count` batches, through as many epochs as it needs."""
    batches: list[Batch] = []
    while len(batches) < count:
        batches += islice(source, count - len(batches))
    return batches


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_resume_is_exact_at_every_step(folder: Path, num_workers: int, shuffle: bool) -> None:
    for rank in range(2):
        options: dict[str, Any] = {
            "rank": rank,
            "world_size": 2,
            "shuffle": shuffle,
            "num_workers": num_workers,
        }
        source = open_small(folder, **options)
        total = 2 * source.steps_per_epoch + 1
        undisturbed = take(source, total)
        for step in range(total):
            stopped = open_small(folder, **options)
            take(stopped, step)
            resumed = open_small(folder, **options)
            resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
            assert all_equal(take(resumed, total - step), undisturbed[step:])


def test_state_is_the_same_on_every_rank(folder: Path) -> None:
    states = []
    for rank in range(3):
        source = open_small(folder, rank=rank, world_size=3, shuffle=True)
        take(source, 2)
        states.append(source.state_dict())
    assert states[0] == states[1] == states[2]


def test_an_epoch_under_way_keeps_its_seed_and_shuffling(folder: Path) -> None:
    source = open_small(folder, shuffle=True)
    whole = list(source)
    next_epoch = list(source)
    stopped = open_small(folder, shuffle=True)
    take(stopped, 3)
    changed = open_small(folder, shuffle=True, seed=7, shuffle_row_groups=5)
    changed.load_state_dict(stopped.state_dict())
    assert all_equal(list(changed), whole[3:])
    assert users(list(changed)) != users(next_epoch)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("ranks", "batch_size"), [(1, 4), (3, 4), (2, 5), (4, 1)])
def test_with_other_ranks_or_batch_size_the_rows_still_due_come_once(
    folder: Path, ranks: int, batch_size: int, shuffle: bool
) -> None:
    seen, state = [], {}
    for rank in range(2):
        source = open_small(folder, rank=rank, world_size=2, shuffle=shuffle)
        seen += users(take(source, 3))
        state = source.state_dict()
    assert len(seen) == 2 * 3 * 4
    later: list[int] = []
    for rank in range(ranks):
        source = open_small(
            folder, rank=rank, world_size=ranks, batch_size=batch_size, shuffle=shuffle
        )
        source.load_state_dict(state)
        assert source.step == 3
        left = source.steps_left
        batches = list(source)
        assert len(batches) == left
        assert source.steps_left == 0
        later += users(batches)
    assert not set(seen) & set(later)
    assert len(set(later)) == len(later)
    due = ROWS - len(seen)
    assert len(later) == (due // (ranks * batch_size) * ranks * batch_size if shuffle else due)


@pytest.mark.parametrize("changes", [[1], [4], [8, 2], [1, 4, 2]])
def test_other_ranks_take_the_same_steps_together(folder: Path, changes: list[int]) -> None:
    """Two ranks begin with 8 rows a step, others resume: each step has the rows it would have had,
    in the next epoch too, and in their order."""

    def opened(ranks: int) -> list[ParquetSource]:
        return [
            open_small(folder, rank=rank, world_size=ranks, batch_size=8 // ranks, shuffle=True)
            for rank in range(ranks)
        ]

    sources = opened(2)
    total = 2 * sources[0].steps_per_epoch
    undisturbed = list(zip(*(take(source, total) for source in sources), strict=True))
    sources = opened(2)
    found = list(zip(*(take(source, 3) for source in sources), strict=True))
    for ranks in changes:
        state = json.loads(json.dumps(sources[0].state_dict()))
        sources = opened(ranks)
        for source in sources:
            source.load_state_dict(state)
        count = 2 if ranks != changes[-1] else total - len(found)
        found += zip(*(take(source, count) for source in sources), strict=True)
    assert [users(list(step)) for step in found] == [users(list(step)) for step in undisturbed]


def test_a_finished_epoch_resumes_with_the_next(folder: Path) -> None:
    source = open_small(folder, shuffle=True)
    take(source, source.steps_per_epoch)
    state = source.state_dict()
    for batch_size in (4, 1):
        resumed = open_small(folder, shuffle=True, batch_size=batch_size)
        resumed.load_state_dict(state)
        assert len(list(resumed)) == resumed.steps_per_epoch
        assert resumed.epoch == 1


def test_resume_reads_only_what_is_still_to_come(folder: Path, tmp_path: Path) -> None:
    """Files of rows already handed out are not opened again: here they are damaged on the way."""
    schema = write_folder(tmp_path, random_rows(40), files=4, row_group_size=5)
    source, resumed = open_small(tmp_path), open_small(tmp_path)
    take(source, 8)  # 32 rows: the files of 10 rows but the last
    for name in schema.splits["train"].files[:3]:
        (tmp_path / name).unlink()
    resumed.load_state_dict(source.state_dict())
    assert users(list(resumed)) == list(range(32, 40))


def test_a_position_in_another_split_is_rejected(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, random_rows(30), files=1)
    assert pq.read_metadata(tmp_path / "train/part-00000.parquet").num_row_groups == 6
    with pytest.raises(UserError, match=r"split of 30 rows in 6 row groups, this one has 43 in 12"):
        open_small(folder).load_state_dict(open_small(tmp_path).state_dict())
