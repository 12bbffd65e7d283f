"""What a publisher publishes, and a follower applies, is an export of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checkpoint.layout import find_folder, saved_steps, step_folder
from pipeline.export.export import export
from pipeline.export.publish import Publisher
from pipeline.increments.channel import Channel
from pipeline.increments.follower import Follower, open_follower
from pipeline.io.errors import UserError
from tests.pipeline.exported import train
from tests.pipeline.increments.models import content


def test_base_and_chain_are_the_export_of_the_last_checkpoint(tmp_path: Path) -> None:
    fields = {"train.batch_size": 4, "checkpoint.every": 2, "checkpoint.keep": 9}
    run = train(tmp_path, **fields).folder
    checkpoints = find_folder(run)
    steps = saved_steps(checkpoints)
    assert steps == [2, 4, 6]
    to = str(tmp_path / "channel")
    with pytest.raises(UserError, match="no model that can be served is published"):
        open_follower(to, tmp_path / "served", print)
    publisher = Publisher(Channel(to), tmp_path / "work")
    follower = Follower(Channel(to), tmp_path / "served")
    for number, step in enumerate(steps, start=1):
        found = publisher.publish(step_folder(checkpoints, step))
        assert found is not None
        assert (found.number, found.step, found.is_full) == (number, step, number == 1)
        assert (found.changed_rows > 0) == (number > 1)
        assert follower.update()
        if step != 4:
            export(step_folder(checkpoints, step), tmp_path / f"{step}", compile_tower="off")
            assert content(follower.folder) == content(tmp_path / f"{step}")
    assert not follower.refused
    assert publisher.newest(str(run)) is None
    # A publisher on another machine goes on from what is published.
    other = Publisher(Channel(to), tmp_path / "other", full_every=2)
    assert other.newest(str(run)) is None
    again = other.publish(step_folder(checkpoints, 2))
    assert again is not None
    assert (again.number, again.is_full) == (4, True)
    assert follower.update()
    assert content(follower.folder) == content(tmp_path / "2")


def test_a_run_without_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    publisher = Publisher(Channel(str(tmp_path / "channel")), tmp_path / "work")
    with pytest.raises(UserError, match="no checkpoint is saved"):
        publisher.newest(str(tmp_path / "run"))
