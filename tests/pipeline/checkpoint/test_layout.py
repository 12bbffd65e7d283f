"""Which checkpoints stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoint.layout import (
    best_step,
    find_checkpoint,
    named_steps,
    retained_steps,
    saved_steps,
    step_folder,
)
from pipeline.checkpoint.listing import open_checkpoints
from pipeline.config.sections import CheckpointConfig
from pipeline.io.errors import UserError
from pipeline.report.run_files import read_run

STEPS = st.lists(st.integers(1, 60), unique=True).map(sorted)


@given(steps=STEPS, keep=st.integers(1, 5), every=st.integers(0, 12), data=st.data())
def test_newest_best_and_every_so_many_steps_stay(
    steps: list[int], keep: int, every: int, data: st.DataObject
) -> None:
    best = data.draw(st.sampled_from([None, *steps]))
    rules = CheckpointConfig(keep=keep, keep_every=every)
    stay = retained_steps(dict.fromkeys(steps), best, rules)
    passed = range(every, 61, every) if every else ()
    first = {min((s for s in steps if m <= s < m + every), default=0) for m in passed}
    assert set(stay) == ({*steps[-keep:], best} | first) - {0, None}
    # Pruned as the run goes, or once at its end: the same stay.
    there: list[int] = []
    for step in steps:
        there = sorted(retained_steps(dict.fromkeys([*there, step]), best, rules))
    assert set(there) == set(stay)


@given(steps=STEPS, keep=st.integers(1, 5), data=st.data())
def test_a_base_stays_while_one_that_adds_to_it_does(
    steps: list[int], keep: int, data: st.DataObject
) -> None:
    bases: dict[int, int | None] = {}
    for step in steps:
        whole = [earlier for earlier, base in bases.items() if base is None]
        bases[step] = data.draw(st.sampled_from([None, *whole[-1:]]))
    stay = retained_steps(bases, None, CheckpointConfig(keep=keep))
    whole = [step for step in steps if bases[step] is None]
    added = [step for step in steps if bases[step] is not None][-keep:]
    assert set(stay) == {*whole[-keep:], *added, *(bases[step] for step in added)}
    assert all(bases[step] in (None, *stay) for step in stay)
    # The best one may add to one that is past its time.
    for best in steps:
        assert retained_steps(bases, best, CheckpointConfig(keep=keep)).keys() == (
            stay.keys() | ({best, bases[best]} - {None})
        )


def test_only_what_a_save_ended_counts(tmp_path: Path) -> None:
    for step in (3, 20):
        folder = step_folder(tmp_path, step)
        folder.mkdir()
        for name in ("manifest.json", "meta.json", ".metadata"):
            (folder / name).write_text("", encoding="utf-8")
    # Another program's: step_folder would name another folder.
    for name in (".step-00000030.partial", "step-9", "step-\N{ARABIC-INDIC DIGIT THREE}", "step-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "best.json").touch()
    assert named_steps(tmp_path) == saved_steps(tmp_path) == [3, 20]
    (step_folder(tmp_path, 20) / "manifest.json").unlink()
    assert named_steps(tmp_path) == [3, 20]
    assert saved_steps(tmp_path) == [3]
    assert saved_steps(tmp_path / "nowhere") == []


def test_a_path_of_nothing_is_the_runs_own() -> None:
    assert CheckpointConfig.model_validate({"path": ""}).path is None


@pytest.mark.parametrize("value", [-1, float("inf")])
def test_minutes_that_cannot_be_are_rejected(value: float) -> None:
    with pytest.raises(ValueError, match="minutes"):
        CheckpointConfig(minutes=value)


@pytest.mark.parametrize("text", ["[1]", "x", "{}"])
def test_a_damaged_note_of_the_best_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "best.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"best\.json: .*; remove it"):
        best_step(tmp_path)


@pytest.mark.parametrize("read", [find_checkpoint, open_checkpoints, read_run])
def test_of_a_run_that_is_being_replaced_the_old_one_is_named(
    read: Callable[[Any], object], tmp_path: Path
) -> None:
    (tmp_path / ".replaced").mkdir()
    with pytest.raises(UserError, match=r"; the run that it replaces is in .*/\.replaced$"):
        read(tmp_path)
