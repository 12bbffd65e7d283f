"""Made-up ids are as a plan's file says."""

from __future__ import annotations

import pytest
import torch

from embeddings.planner.inputs.table_list import ListedTable
from pipeline.planning.synthetic_ids import synthetic_ids

CPU = torch.device("cpu")
TABLES = [
    ListedTable(name="a", rows=7, dim=4, pooling_factor=2.25),
    ListedTable(
        name="b", rows=50, dim=4, features=("x", "y"), pooling_factor=(1, 4), num_poolings=3
    ),
    ListedTable(name="c", rows=5, dim=4, features=("x",)),
]


def test_as_many_ids_as_the_plan_says_and_none_beyond_the_rows() -> None:
    ids = synthetic_ids(TABLES, 4000, 0, CPU)
    assert ids.keys() == ["a", "x", "y"]
    lengths = ids.lengths().view(3, 4000).float().mean(dim=1)
    assert lengths.tolist() == pytest.approx([2.25, 3, 12], rel=0.02)
    largest = [int(ids[key].values().max()) for key in ids.keys()]  # noqa: SIM118
    # x is looked up in both tables: the smaller one's rows bound it.
    assert largest == [6, 4, 49]
    assert ids.weights_or_none() is None


def test_a_seed_is_a_batch() -> None:
    first, again, other = (synthetic_ids(TABLES, 16, seed, CPU) for seed in (0, 0, 1))
    assert first.values().equal(again.values())
    assert not first.values().equal(other.values())


def test_weighted_tables_get_weights() -> None:
    table = ListedTable(name="a", rows=7, dim=4, weighted=True)
    ids = synthetic_ids([table], 8, 0, CPU)
    assert ids.weights().tolist() == [1.0] * 8
