"""A topic is followed like a folder: each message once, whatever dies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.integration.training.runs import tensors
from tests.pipeline.data.stream.brokers import Topic
from tests.pipeline.data.table.tables import table
from tests.pipeline.follow.following import logged, newest, position, run, scores, start_log
from tests.ranks import RankError, run_ranks


def test_kills_lose_and_repeat_no_message(tmp_path: Path) -> None:
    data = start_log(tmp_path)
    topic = Topic()
    topic.send(table(1200, seed=3), partitions=3)
    words = ["--follow.source", topic.address]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_ranks(run, 2, data, whole, words) == [0, 0]
    with pytest.raises(RankError):
        run_ranks(run, 2, data, killed, words, None, (1, 0.2))
    assert run_ranks(run, 2, data, killed, words) == [0, 0]
    for out in (whole, killed):
        assert position(out)["rows"] == 1200 // 32 * 32
        assert sum(position(out)["offsets"].values()) == 1200 // 32 * 32
        assert sum(one["rows"] for one in logged(out, "window")) == 1200 // 32 * 32
    assert scores(killed) == scores(whole)
    one, other = tensors(newest(whole), tmp_path), tensors(newest(killed), tmp_path)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
