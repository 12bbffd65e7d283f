from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.sections import TrainConfig
from pipeline.io.errors import UserError
from pipeline.training.batch_size import batch_sizes


@given(batch=st.integers(1, 5000), ranks=st.integers(1, 64))
def test_the_global_batch_is_kept_to_half_a_row_a_rank(batch: int, ranks: int) -> None:
    config = TrainConfig(batch_size=batch)
    if batch < ranks:
        with pytest.raises(UserError, match="fewer than"):
            batch_sizes(config, ranks)
        return
    rows = batch_sizes(config, ranks)
    assert abs(rows.per_rank * ranks - batch) <= ranks / 2
    assert rows.share == rows.per_rank * ranks / batch
    assert rows.rate == 1
    if batch % ranks == 0:
        assert rows.share == 1


@pytest.mark.parametrize(("rule", "rate"), [("constant", 1), ("sqrt", 0.5), ("linear", 0.25)])
def test_the_batch_follows_the_ranks_where_it_may(rule: str, rate: float) -> None:
    config = TrainConfig(batch_size=64, base_world_size=8, scale_lr=rule)
    rows = batch_sizes(config, 2)
    assert (rows.per_rank, rows.share, rows.rate) == (8, 0.25, rate)
    assert batch_sizes(config, 8).rate == 1


def test_ranks_that_do_not_divide_the_rows_are_named() -> None:
    with pytest.raises(
        UserError, match=r"train.batch_size: 10 rows are not divisible by train.base_world_size"
    ):
        batch_sizes(TrainConfig(batch_size=10, base_world_size=4), 4)
