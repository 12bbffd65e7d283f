"""A run at an origin that fails after its training, and is resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config.overrides import resolve
from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.experiments.rolling.runs import OriginRun
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.ranks.world import open_world
from tests.pipeline.data.prepare.small_kuairand import write_raw


def test_a_resumed_run_has_the_cpu_seconds_of_all_its_sessions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare_kuairand(write_raw(tmp_path / "raw"), data)
    words = ["--data.path", str(data), "--train.batch_size", "32", "--train.max_steps", "2"]
    run = OriginRun(
        name="home",
        folder=tmp_path / "run",
        log=tmp_path / "run.log",
        config=resolve("debug", None, words),
        steps=2,
        tower="home",
        seed=0,
        origin="2022-05-02",
    )
    (data / "vocab").rename(data / "gone")
    with open_world() as world:
        with pytest.raises(UserError):
            run.train(world)
        path = run.folder / "cpu_seconds.json"
        assert json.loads(path.read_text(encoding="utf-8"))["seconds"] > 0
        write_json(path, {"seconds": 1000.0})
        assert not run.is_over
        (data / "gone").rename(data / "vocab")
        assert run.train(world) == 0
    assert 1000 < run.outcome()["cpu_seconds"] < 1100
