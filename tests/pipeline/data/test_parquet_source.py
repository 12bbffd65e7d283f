"""Batches of a prepared folder: every row as written, sharded, padded, in a reproducible order."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.batch import Batch
from tests.pipeline.data.small_folder import (
    FEATURES,
    LABELS,
    VOCABULARY,
    expected,
    open_small,
    random_rows,
    read_back,
    write_folder,
)

ROWS = 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """43 rows in 3 files of 15, 15 and 13 rows, row groups of 4."""
    path = tmp_path_factory.mktemp("small")
    write_folder(path, random_rows(ROWS), files=3, row_group_size=4)
    return path


def users(batches: list[Batch]) -> list[int]:
    """The rows that count, by number."""
    return [
        user
        for batch in batches
        for user, weight in zip(batch.users.tolist(), batch.weights.tolist(), strict=True)
        if weight
    ]


def equal(one: Batch, other: Batch) -> bool:
    return (
        one.sparse.keys() == other.sparse.keys()
        and torch.equal(one.sparse.values(), other.sparse.values())
        and torch.equal(one.sparse.lengths(), other.sparse.lengths())
        and torch.equal(one.dense, other.dense)
        and torch.equal(one.labels.nan_to_num(-1), other.labels.nan_to_num(-1))
        and torch.equal(one.weights, other.weights)
        and torch.equal(one.users, other.users)
    )


def all_equal(some: list[Batch], others: list[Batch]) -> bool:
    return len(some) == len(others) and all(map(equal, some, others))


@given(
    rows=st.integers(1, 40),
    seed=st.integers(0, 1000),
    files=st.integers(1, 3),
    row_group_size=st.integers(1, 12),
    batch_size=st.integers(1, 12),
    window=st.integers(1, 4),
    shuffle=st.booleans(),
    features=st.permutations(FEATURES),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_decoded_as_one_would_by_hand(
    rows: int,
    seed: int,
    files: int,
    row_group_size: int,
    batch_size: int,
    window: int,
    shuffle: bool,
    features: list[object],
) -> None:
    written = random_rows(rows, seed)
    with TemporaryDirectory() as path:
        write_folder(Path(path), written, files=files, row_group_size=row_group_size)
        source = open_small(
            Path(path),
            batch_size=min(batch_size, rows),
            shuffle_row_groups=window,
            shuffle=shuffle,
            features=features,
            with_oracle=True,
        )
        batches = list(source)
    assert len(batches) == source.steps_per_epoch
    for batch in batches:
        for row, user in enumerate(batch.users.tolist()):
            assert read_back(batch, row) == expected(written[user], with_oracle=True)
    if not shuffle:
        assert users(batches) == list(range(rows))


def test_a_batch_has_the_promised_shapes(folder: Path) -> None:
    batch = next(iter(open_small(folder, batch_size=5)))
    assert batch.dense.shape == (5, 2)
    assert batch.labels.shape == (5, 2)
    assert batch.weights.shape == batch.users.shape == (5,)
    assert batch.oracle is None
    assert batch.sparse.keys() == [feature.name for feature in FEATURES]
    assert batch.sparse.stride() == 5
    assert {batch.dense.dtype, batch.labels.dtype, batch.weights.dtype} == {torch.float32}
    assert batch.sparse.values().dtype == batch.sparse.lengths().dtype == torch.int32
    assert batch.users.dtype == torch.int64


def test_ids_of_a_table_beyond_int32_are_int64(folder: Path) -> None:
    narrow = next(iter(open_small(folder, features=FEATURES[3:4], hash_rows={"tag": 3})))
    wide = next(iter(open_small(folder, features=FEATURES[3:4], hash_rows={"tag": 2**31})))
    assert narrow.sparse.values().dtype == torch.int32
    assert wide.sparse.values().dtype == torch.int64
    # Ids outside the vocabulary fall into other hash rows; those inside stay.
    known = narrow.sparse.values() < VOCABULARY["tag"]
    assert torch.equal(narrow.sparse.values()[known].long(), wide.sparse.values()[known])


def test_features_and_tasks_may_be_a_choice(folder: Path) -> None:
    source = open_small(folder, features=FEATURES[3:4], tasks=LABELS[1:], hash_rows={"tag": 3})
    batch = next(iter(source))
    whole = next(iter(open_small(folder)))
    assert batch.sparse.keys() == ["likes"]
    assert torch.equal(batch.sparse.values(), whole.sparse["likes"].values())
    assert torch.equal(batch.labels.nan_to_num(-1), whole.labels[:, 1:].nan_to_num(-1))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 50])
@pytest.mark.parametrize("world_size", [1, 2, 3, 60])
def test_ranks_together_evaluate_every_row_once(
    folder: Path, world_size: int, batch_size: int
) -> None:
    steps, found = set(), []
    for rank in range(world_size):
        source = open_small(folder, rank=rank, world_size=world_size, batch_size=batch_size)
        batches = list(source)
        assert {len(batch.users) for batch in batches} == {batch_size}
        steps.add(len(batches))
        steps.add(source.steps_per_epoch)
        found += users(batches)
    assert len(steps) == 1
    assert sorted(found) == list(range(ROWS))


@pytest.mark.parametrize("world_size", [1, 2, 3, 10])
def test_ranks_together_train_on_each_row_at_most_once(folder: Path, world_size: int) -> None:
    steps, found = set(), []
    for rank in range(world_size):
        source = open_small(folder, rank=rank, world_size=world_size, batch_size=4, shuffle=True)
        batches = list(source)
        assert {len(batch.users) for batch in batches} == {4}
        assert all(bool(batch.weights.all()) for batch in batches)
        steps.add(len(batches))
        steps.add(source.steps_per_epoch)
        found += users(batches)
    assert steps == {ROWS // (4 * world_size)}
    assert len(set(found)) == len(found)


def test_padding_repeats_a_row_of_the_shard(folder: Path) -> None:
    *_, last = open_small(folder, batch_size=10)
    assert last.weights.tolist() == [1.0] * 3 + [0.0] * 7
    assert set(last.users[3:].tolist()) == {ROWS - 1}


def test_epochs_differ_and_a_seed_repeats_them(folder: Path) -> None:
    source, again = open_small(folder, shuffle=True), open_small(folder, shuffle=True)
    other = open_small(folder, shuffle=True, seed=1)
    first, second = list(source), list(source)
    assert source.epoch == 1
    assert users(first) != users(second)
    assert all_equal(first + second, list(again) + list(again))
    assert users(first) != users(list(other))


def test_evaluation_is_the_same_every_time(folder: Path) -> None:
    source = open_small(folder)
    assert all_equal(list(source), list(source))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_workers_do_not_change_batches(folder: Path, num_workers: int, shuffle: bool) -> None:
    inline = open_small(folder, shuffle=shuffle)
    threaded = open_small(folder, shuffle=shuffle, num_workers=num_workers)
    assert all_equal(list(inline) + list(inline), list(threaded) + list(threaded))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_iteration_continues_where_it_stopped(folder: Path, num_workers: int) -> None:
    straight = open_small(folder, shuffle=True)
    stopping = open_small(folder, shuffle=True, num_workers=num_workers)
    parts = [*islice(stopping, 3), *islice(stopping, 1), *stopping]
    assert all_equal(parts, list(straight))
    assert all_equal(list(islice(stopping, 2)), list(islice(straight, 2)))
    assert (stopping.epoch, stopping.step) == (1, 2)
    assert stopping.steps_left == stopping.steps_per_epoch - 2


def test_threads_end_with_their_iterator(folder: Path) -> None:
    before = threading.active_count()
    iterator = iter(open_small(folder, num_workers=2, batch_size=1))
    next(iterator)
    assert threading.active_count() > before
    del iterator
    assert threading.active_count() == before
    list(open_small(folder, num_workers=2))
    assert threading.active_count() == before


def test_describe_names_the_row_groups_of_a_batch(folder: Path) -> None:
    source = open_small(folder)
    steps = len(list(source))
    assert source.describe(steps) == "epoch 0, batch 0: train/part-00000.parquet row groups 0"
    assert source.describe(steps - 3) == (
        "epoch 0, batch 3: train/part-00000.parquet row groups 3; "
        "train/part-00001.parquet row groups 0"
    )
    shuffled = open_small(folder, shuffle=True)
    for batch in shuffled:
        text = shuffled.describe(1)
        for user in batch.users.tolist():
            file, row = divmod(user, 15)
            (numbers,) = (
                part.split(" row groups ")[1].split(", ")
                for part in text.split(": ")[1].split("; ")
                if part.startswith(f"train/part-0000{file}.parquet")
            )
            assert str(row // 4) in numbers
