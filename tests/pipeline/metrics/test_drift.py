"""Histograms of features: against a count per value, and what moves them."""

import math
from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrec import KeyedJaggedTensor

from pipeline.data.batch import Batch
from pipeline.metrics.drift import NUM_BINS, FeatureCounts, population_stability

KEYS = ["user", "tags"]
SIZES = [50, None]


def batch_of(rows: int, seed: int, *, shift: float = 0.0, padding: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    lengths = torch.cat([torch.ones(rows), torch.randint(0, 4, (rows,), generator=g)]).int()
    values = torch.randint(0, 60, (int(lengths.sum()),), generator=g)
    weights = torch.ones(rows)
    weights[rows - padding :] = 0
    return Batch(
        dense=torch.randn(rows, 3, generator=g) + shift,
        sparse=KeyedJaggedTensor(keys=KEYS, values=values, lengths=lengths, stride=rows),
        labels=torch.zeros(rows, 1),
        weights=weights,
        users=torch.zeros(rows, dtype=torch.int64),
    )


def counts_of(*batches: Batch) -> FeatureCounts:
    counts = FeatureCounts(["a", "b", "c"], KEYS, SIZES)
    for batch in batches:
        counts.update(batch.dense, batch.sparse, batch.weights)
    return counts


@given(st.integers(1, 40), st.integers(0, 10**6), st.data())
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_a_loop_over_values(rows: int, seed: int, data: st.DataObject) -> None:
    batch = batch_of(rows, seed, padding=data.draw(st.integers(0, rows)))
    counts = counts_of(batch)
    real = int((batch.weights > 0).sum())
    assert counts.bins_FK[:3].sum(1).tolist() == [real] * 3
    for place, key in enumerate(KEYS):
        bags = batch.sparse[key].to_dense()[:real]
        ids = Counter(int(one) for bag in bags for one in bag)
        assert int(counts.bins_FK[3 + place].sum()) == ids.total()
        size = SIZES[place]
        unknown = 0 if size is None else sum(n for one, n in ids.items() if one >= size)
        assert counts.unknown_rates()[key] == unknown / max(ids.total(), 1)


def test_counts_of_parts_add_up() -> None:
    one, other = batch_of(30, 1), batch_of(20, 2)
    both = counts_of(one, other)
    assert both.bins_FK.equal(counts_of(one).bins_FK + counts_of(other).bins_FK)
    assert both.unknown_S.equal(counts_of(one).unknown_S + counts_of(other).unknown_S)


def test_consecutive_ids_spread_over_all_bins() -> None:
    values = torch.arange(64)
    batch = batch_of(64, 0)
    batch.sparse = KeyedJaggedTensor(
        keys=KEYS, values=values, lengths=torch.cat([torch.ones(64), torch.zeros(64)]).int()
    )
    assert int((counts_of(batch).bins_FK[3] > 0).sum()) == NUM_BINS


def test_a_moved_number_stands_out_and_the_same_distribution_does_not() -> None:
    before, same = counts_of(batch_of(4000, 1)).bins_FK, counts_of(batch_of(4000, 2)).bins_FK
    moved = counts_of(batch_of(4000, 3, shift=1.0)).bins_FK
    assert float(population_stability(before, same).max()) < 0.05
    psi = population_stability(before, moved)
    assert float(psi[:3].min()) > 0.5
    assert float(psi[3:].max()) < 0.05


def test_stability_of_two_bins_is_the_textbook_sum() -> None:
    p, q = torch.tensor([[99.5, 299.5]]), torch.tensor([[199.5, 199.5]])
    expected = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert math.isclose(float(population_stability(p, q)), expected, rel_tol=1e-9)
    assert float(population_stability(p, p)) == 0
