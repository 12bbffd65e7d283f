"""The past is found as a loop over rows would find it, and holds nothing of the present."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.prepare.history import (
    Bags,
    Bools,
    RollingEvents,
    find_past,
    last_events,
    until,
)
from pipeline.io.arrays import IntArray

# (user, time, event): few users and times, so that equal times are frequent.
LOGS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=40)
Log = list[tuple[int, int, bool]]


def as_arrays(log: Log) -> tuple[IntArray, IntArray, Bools]:
    """user, time and event [N], sorted as the module wants them."""
    log = sorted(log, key=lambda row: row[:2])
    user, time, event = (list(column) for column in zip(*log, strict=True)) if log else ([], [], [])
    return (
        np.array(user, dtype=np.int64),
        np.array(time, dtype=np.int64),
        np.array(event, dtype=np.bool_),
    )


def naive_bag(
    user: IntArray, time: IntArray, event: Bools, row: int, max_history: int
) -> list[int]:
    """Row numbers of the last events before `row`, newest first."""
    past = [i for i in range(len(user)) if user[i] == user[row] and time[i] < time[row]]
    return [i for i in past if event[i]][::-1][:max_history]


def as_lists(bags: Bags, values: IntArray, rows: IntArray) -> list[list[int]]:
    lengths, flat = bags.gather(values, rows)
    return [bag.tolist() for bag in np.split(flat, np.cumsum(lengths)[:-1])] if len(rows) else []


@given(LOGS, st.integers(1, 4))
def test_bags_and_counts_equal_a_loop_over_rows(log: Log, max_history: int) -> None:
    user, time, event = as_arrays(log)
    past = find_past(user, time)
    rows = np.arange(len(user))
    bags = as_lists(last_events(past, event, max_history), rows, rows)
    assert bags == [naive_bag(user, time, event, row, max_history) for row in range(len(user))]
    everything = [naive_bag(user, time, np.ones_like(event), row, 99) for row in range(len(user))]
    assert past.num_rows.tolist() == [len(bag) for bag in everything]
    assert past.count(event).tolist() == [
        len(naive_bag(user, time, event, row, 99)) for row in range(len(user))
    ]


@given(LOGS, st.data())
def test_a_past_until_a_date_ends_before_the_users_first_row_of_it(
    log: Log, data: st.DataObject
) -> None:
    user, time, _ = as_arrays(log)
    dates = st.lists(st.integers(0, 3), min_size=len(log), max_size=len(log))
    date, limit = (np.array(data.draw(dates), dtype=np.int64) for _ in range(2))
    past = until(find_past(user, time), date, limit)
    for row in range(len(log)):
        earlier = [i for i in range(len(log)) if user[i] == user[row] and time[i] < time[row]]
        kept = itertools.takewhile(lambda i, row=row: date[i] < limit[row], earlier)  # type: ignore[misc]
        assert list(range(past.begin[row], past.end[row])) == list(kept)


@given(LOGS, st.data())
def test_what_a_row_did_changes_later_rows_only(log: Log, data: st.DataObject) -> None:
    user, time, event = as_arrays(log)
    if not log:
        return
    row = data.draw(st.integers(0, len(log) - 1))
    other = event.copy()
    other[row] = not other[row]
    past = find_past(user, time)
    rows = np.flatnonzero((user != user[row]) | (time <= time[row]))
    numbers = np.arange(len(user))
    before = as_lists(last_events(past, event, 3), numbers, rows)
    assert as_lists(last_events(past, other, 3), numbers, rows) == before
    assert past.count(event)[rows].tolist() == past.count(other)[rows].tolist()


def test_bags_are_gathered_for_any_rows_in_any_order() -> None:
    user, time = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 9])
    bags = last_events(find_past(user, time), np.array([True, True, False, True]), 5)
    video = np.array([70, 71, 72, 73])
    assert as_lists(bags, video, np.array([3, 2, 0, 2])) == [[], [71, 70], [], [71, 70]]


@given(LOGS, st.lists(st.integers(1, 6), max_size=5), st.integers(1, 4))
def test_rolling_events_equal_last_events_over_all_chunks(
    log: Log, borders: list[int], max_history: int
) -> None:
    user, time, event = as_arrays(log)
    rows = np.arange(len(user))
    whole = as_lists(last_events(find_past(user, time), event, max_history), rows, rows)
    rolling = RollingEvents(num_users=4, max_history=max_history)
    edges = [-1, *sorted(borders), 99]
    for low, high in itertools.pairwise(edges):
        chunk = np.flatnonzero((time >= low) & (time < high))
        past = find_past(user[chunk], time[chunk])
        bags = rolling.advance(user[chunk], past, event[chunk], chunk)
        assert as_lists(bags, rows, np.arange(len(chunk))) == [whole[row] for row in chunk]
