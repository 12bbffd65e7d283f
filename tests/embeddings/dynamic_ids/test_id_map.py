"""The map of dynamic ids equals one of dictionaries, on any number of owners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.dynamic_ids.buckets import WIDTH, Buckets, Ints
from embeddings.dynamic_ids.config import DynamicConfig, Evict
from embeddings.dynamic_ids.id_map import IdMap
from tests.embeddings.dynamic_ids.reference import Reference

EVICT = st.sampled_from(["lfu", "lru", "age"])
# Below and above a bucket; several buckets of unequal sizes.
ROWS = st.sampled_from([1, 3, 7, 64, 65, 130])


class Owners:
    """The maps of several ranks, which admit and look up together."""

    def __init__(self, config: DynamicConfig, ranks: int) -> None:
        self.cut = Buckets(config.rows)
        self.ranks = ranks
        self.maps = [IdMap(config, *self.cut.owned(rank, ranks)) for rank in range(ranks)]

    def admit(self, values: Ints) -> tuple[Ints, Ints]:
        ids, counts = np.unique(values, return_counts=True)
        owners = self.cut.owner(self.cut.of(ids), self.ranks)
        rows, renewed = np.empty(len(ids), np.int64), []
        for rank, one in enumerate(self.maps):
            mine = owners == rank
            found = one.admit(ids[mine], counts[mine])
            rows[mine] = found.rows
            renewed.append(found.renewed)
        return rows, np.concatenate(renewed)

    def look_up(self, ids: Ints) -> Ints:
        owners = self.cut.owner(self.cut.of(ids), self.ranks)
        rows = np.empty(len(ids), np.int64)
        for rank, one in enumerate(self.maps):
            rows[owners == rank] = one.look_up(ids[owners == rank])
        return rows

    def state(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for one in self.maps:
            for name, values in one.state():
                found.setdefault(name, []).extend(values.tolist())
        return found


def batches(rows: int, seed: int, length: int) -> list[Ints]:
    """Batches of ids that recur, more of them than rows, and more in a batch than rows."""
    random = np.random.default_rng(seed)
    # Multiplied, so that ids are far apart, up to 62 bits.
    return [
        (random.zipf(1.3, size=random.integers(0, 3 * rows + 5)) % (4 * rows + 3))
        * 12345678901234567
        % 2**62
        for _ in range(length)
    ]


@settings(max_examples=60)
@given(
    rows=ROWS,
    min_count=st.integers(1, 4),
    evict=EVICT,
    seed=st.integers(0, 2**32),
    length=st.integers(1, 12),
)
def test_equals_dictionaries_on_any_owners(
    rows: int, min_count: int, evict: Evict, seed: int, length: int
) -> None:
    config = DynamicConfig(rows=rows, min_count=min_count, evict=evict)
    reference = Reference(config)
    owners = [Owners(config, ranks) for ranks in (1, 2, 4)]
    seen: set[int] = set()
    for values in batches(rows, seed, length):
        expected = reference.admit(values.tolist())
        seen |= set(values.tolist())
        every = np.array(sorted(seen), dtype=np.int64)
        wanted = [reference.look_up(one) for one in every.tolist()]
        for one in owners:
            found, renewed = one.admit(values)
            assert renewed.tolist() == expected
            assert found.tolist() == [reference.look_up(i) for i in np.unique(values).tolist()]
            assert one.look_up(every).tolist() == wanted
    assert owners[0].state() == owners[1].state() == owners[2].state()


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000, 12_345])
def test_buckets_cover_all_rows_once(rows: int) -> None:
    cut = Buckets(rows)
    sizes = np.diff(cut.starts())
    assert sizes.sum() == rows
    assert sizes.min() >= 1
    assert sizes.max() <= WIDTH
    for ranks in (1, 2, 3, 4, 7):
        ends = [cut.owned(rank, ranks) for rank in range(ranks)]
        assert [first for first, _ in ends] == [0, *(last for _, last in ends[:-1])]
        assert ends[-1][1] == cut.count
        owners = cut.owner(np.arange(cut.count), ranks)
        assert owners.tolist() == [r for r, (a, b) in enumerate(ends) for _ in range(a, b)]


def test_a_lookup_changes_nothing() -> None:
    one = IdMap(DynamicConfig(rows=10, min_count=1))
    one.admit(np.arange(5), np.ones(5, np.int64))
    before = {name: values.copy() for name, values in one.state()}
    assert (one.look_up(np.arange(20)) >= 0).sum() == 5
    for name, values in one.state():
        np.testing.assert_array_equal(values, before[name])


def test_an_id_in_the_batch_is_not_evicted() -> None:
    one = IdMap(DynamicConfig(rows=4, min_count=1, evict="lru"))
    first = one.admit(np.arange(4), np.ones(4, np.int64))
    assert sorted(first.rows) == [0, 1, 2, 3]
    second = one.admit(np.arange(6), np.ones(6, np.int64))
    assert second.rows[:4].tolist() == first.rows.tolist()
    assert second.rows[4:].tolist() == [-1, -1]
    assert not len(second.renewed)


def test_lfu_forgets_ids_that_were_frequent_once() -> None:
    one = IdMap(DynamicConfig(rows=2, min_count=1, evict="lfu"))
    one.admit(np.array([1]), np.array([50]))
    for batch in range(200):
        one.admit(np.array([10 + batch % 3]), np.array([1]))
    assert one.look_up(np.array([1])).tolist() == [-1]


def test_activity_adds_up() -> None:
    one = IdMap(DynamicConfig(rows=100, min_count=2, evict="lru"))
    for values in batches(100, seed=1, length=20):
        one.admit(*np.unique(values, return_counts=True))
    assert one.activity.hits <= one.activity.values
    filled = int((one.slots.ids >= 0).sum())
    assert one.activity.admitted - one.activity.evicted == filled
