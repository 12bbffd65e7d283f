"""An epoch holds every row once; splitting it over ranks loses and repeats none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.ordering import EpochPermutation, Ranges, ShardPlan, cut, num_rows

GROUP_ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def positions(ranges: Ranges) -> list[int]:
    return [position for start, stop in ranges for position in range(start, stop)]


def file_rows(order: EpochPermutation, group_rows: list[int], ranges: Ranges) -> list[int]:
    """The rows at `ranges` of the sequence, numbered as they lie in the files."""
    first = np.cumsum([0, *group_rows])
    found = []
    for span in order.spans(ranges):
        groups = order.buffers[span.buffer]
        of_buffer = np.concatenate([np.arange(first[group], first[group + 1]) for group in groups])
        found += of_buffer[order.rows(span.buffer)[span.start : span.stop]].tolist()
    return found


def make_plan(rows: int, *, batch_size: int, world_size: int, drop_last: bool) -> ShardPlan:
    return ShardPlan(
        epoch=0,
        seed=0,
        buffer_row_groups=0,
        ranges=((0, rows),),
        first_step=0,
        batch_size=batch_size,
        world_size=world_size,
        drop_last=drop_last,
    )


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9))),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_cut_is_a_slice_of_the_positions(
    parts: list[tuple[int, int]], start: int, length: int
) -> None:
    ranges = tuple((first, first + count) for first, count in parts)
    stop = start + length
    assert positions(cut(ranges, start, stop)) == positions(ranges)[start:stop]


@given(GROUP_ROWS, st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_is_a_permutation_of_the_rows(
    group_rows: list[int], buffer: int, seed: int, epoch: int
) -> None:
    order = EpochPermutation(group_rows, epoch=epoch, seed=seed, buffer_row_groups=buffer)
    rows = sum(group_rows)
    found = file_rows(order, group_rows, ((0, rows),))
    assert sorted(found) == list(range(rows))
    assert buffer > 0 or found == list(range(rows))


@given(GROUP_ROWS, st.integers(0, 5), st.integers(0, 80), st.integers(0, 80))
def test_a_part_of_an_epoch_is_the_same_rows_whoever_reads_it(
    group_rows: list[int], buffer: int, one: int, other: int
) -> None:
    order = EpochPermutation(group_rows, epoch=0, seed=0, buffer_row_groups=buffer)
    rows = sum(group_rows)
    start, stop = sorted((one % rows, other % rows))
    whole = file_rows(order, group_rows, ((0, rows),))
    assert file_rows(order, group_rows, cut(((0, rows),), start, stop)) == whole[start:stop]


def test_a_window_mixes_the_rows_of_its_row_groups() -> None:
    order = EpochPermutation([50] * 8, epoch=0, seed=0, buffer_row_groups=4)
    drawn_from = order.rows(0)[:50] // 50
    assert set(drawn_from.tolist()) == {0, 1, 2, 3}


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_steps_of_all_ranks_hold_each_row_at_most_once(
    rows: int, batch_size: int, world_size: int, drop_last: bool
) -> None:
    plan = make_plan(rows, batch_size=batch_size, world_size=world_size, drop_last=drop_last)
    taken, padding = [], 0
    for rank in range(world_size):
        ranges, pads, _ = plan.steps(rank, 0, plan.num_steps)
        assert num_rows(ranges) + pads == plan.num_steps * batch_size
        taken += positions(ranges)
        padding += pads
    assert len(set(taken)) == len(taken)
    if drop_last:
        assert padding == 0
        assert rows - len(taken) < batch_size * world_size
    else:
        assert len(taken) == rows
        assert padding < batch_size * world_size


@given(
    st.integers(1, 80),
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=4
    ),
)
def test_ranks_and_batch_size_may_change_within_an_epoch(
    rows: int, runs: list[tuple[int, int, int]]
) -> None:
    """Each run is (ranks, batch size, steps until it is interrupted); the last goes to the end."""
    world_size, batch_size, _ = runs[0]
    plan = make_plan(rows, batch_size=batch_size, world_size=world_size, drop_last=False)
    step, taken = 0, []
    for index, (world_size, batch_size, wanted) in enumerate(runs):
        plan = plan.reshard(step, batch_size, world_size)
        end = plan.num_steps if index == len(runs) - 1 else min(step + wanted, plan.num_steps)
        if plan.first_step <= step < end:
            for rank in range(plan.world_size):
                taken += positions(plan.steps(rank, step, end)[0])
        step = end
    assert sorted(taken) == list(range(rows))


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_finished_epoch_is_not_split_again(drop_last: bool) -> None:
    plan = make_plan(19, batch_size=2, world_size=4, drop_last=drop_last)
    assert plan.reshard(plan.num_steps, 1, 1) == plan
