"""Runs that evaluate an average of the tower's weights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoint.layout import find_checkpoint
from pipeline.config.sections import LossConfig
from pipeline.evaluate import outputs
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.integration.training.runs import evaluated, run, saved_again, tensors
from tests.ranks import run_ranks

_DECAY = 0.5
_RUNS = ("on", "off")
_STEPS = 8
_KEPT = ["--checkpoint.every", "1", "--checkpoint.keep", "8", "--model.tower.dropout", "0.1"]
_KEPT += ["--train.batch_size", "240"]
_TOWER, _AVERAGE = "/model/model.head.tower.", "/model/model.head.ema.module."


def step_folder(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:08d}"


def both(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    """The same run with an average and without."""
    words = [*_KEPT, "--train.ema_decay", str(_DECAY)]
    return [run(rank, size, data, out / "on", words), run(rank, size, data, out / "off", _KEPT)]


@pytest.fixture(scope="module")
def runs(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `on` and `off` of 8 steps on two ranks, each step saved."""
    out = tmp_path_factory.mktemp("average")
    assert run_ranks(both, 2, synthetic, out) == [[0, 0]] * 2
    return out


@pytest.fixture(scope="module")
def saved(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """Everything that run `on` saved, step by step."""
    folder = tmp_path_factory.mktemp("whole")
    return [tensors(step_folder(runs / "on", step), folder) for step in range(1, _STEPS + 1)]


def test_the_average_is_that_of_the_weights_after_each_step(
    saved: list[dict[str, torch.Tensor]],
) -> None:
    names = [name.removeprefix(_TOWER) for name in saved[0] if name.startswith(_TOWER)]
    assert [name for name in names if "running_var" in name]
    different = 0
    for name in names:
        expected = saved[0][_TOWER + name].double()
        for n, step in enumerate(saved):
            kept = min(_DECAY, n / (n + 2))
            expected = kept * expected + (1 - kept) * step[_TOWER + name].double()
            average = step[_AVERAGE + name]
            torch.testing.assert_close(average.double(), expected, rtol=1e-5, atol=1e-7)
        different += not torch.equal(average, saved[-1][_TOWER + name])
    assert different > len(names) // 2
    assert int(saved[-1]["/model/model.head.ema.n_averaged"]) == _STEPS


def test_training_does_not_feel_it(
    runs: Path, saved: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    off = tensors(step_folder(runs / "off", _STEPS), tmp_path)
    on = {name: value for name, value in saved[-1].items() if ".ema." not in name}
    assert on.keys() == off.keys()
    assert [name for name in on if not torch.equal(on[name], off[name])] == []
    first, second = (
        json.loads((runs / name / "results.json").read_text(encoding="utf-8")) for name in _RUNS
    )
    assert first["tasks"]["click"]["auc"] != second["tasks"]["click"]["auc"]


@pytest.mark.parametrize("size", [1, 2])
def test_evaluating_the_checkpoint_again_gives_its_metrics(runs: Path, size: int) -> None:
    results = json.loads((runs / "on" / "results.json").read_text(encoding="utf-8"))
    again = run_ranks(evaluated, size, find_checkpoint(runs / "on"))
    for task, metrics in results["tasks"].items():
        assert again[0][task] == pytest.approx(metrics, rel=1e-5), task


def resumed(rank: int, size: int, off: Path, on: Path) -> list[Any]:
    more = ["--train.ema_decay", "0.9"]
    return [run(rank, size, Path(), off, more, resume=True), run(rank, size, Path(), on, [], True)]


def test_resume_is_bit_equal_and_no_average_begins_late(
    runs: Path, saved: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    for name in _RUNS:
        shutil.copytree(runs / name, tmp_path / name)
        for step in range(5, _STEPS + 1):
            shutil.rmtree(step_folder(tmp_path / name, step))
    for rejected, code in run_ranks(resumed, 2, tmp_path / "off", tmp_path / "on"):
        assert "was trained without train.ema_decay" in rejected
        assert code == 0
    right = tensors(step_folder(tmp_path / "on", _STEPS), tmp_path)
    assert saved[-1].keys() == right.keys()
    assert [name for name, value in saved[-1].items() if not torch.equal(value, right[name])] == []


def test_another_plan_on_another_number_of_ranks_holds_the_same_average(
    runs: Path, saved: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    out = tmp_path / "other"
    shutil.copytree(runs / "on", out)
    for path in (out / "config.json",):
        path.write_text(
            re.sub(
                r'"types": \[[^]]*\]', '"types": ["column_wise"]', path.read_text(encoding="utf-8")
            ),
            encoding="utf-8",
        )
    copy = tmp_path / "copy"
    assert run_ranks(saved_again, 3, out, copy) == [_STEPS] * 3
    right = tensors(step_folder(copy, _STEPS), tmp_path)
    names = [name for name in saved[-1] if not name.startswith(("/random/", "/window/"))]
    assert [name for name in names if name.startswith(_AVERAGE)]
    assert [name for name in names if not torch.equal(saved[-1][name], right[name])] == []


def train_some(rank: int, size: int, types: tuple[str, ...]) -> Any:
    """A few steps under PCGrad, which asks the head for more: losses of an evaluation after each,
    and the average at the end."""
    settings = config(types)
    loss = LossConfig.model_validate({"balance": {"kind": "pcgrad"}})
    train = settings.train.model_copy(update={"ema_decay": _DECAY})
    settings = settings.model_copy(update={"loss": loss, "train": train})
    chosen = resolve_features(settings, SCHEMA)
    step, parallel = build(settings, chosen, this_world())
    pipeline = open_pipeline(parallel, this_world())
    head = step.model.head
    keys = [feature.name for feature in chosen.features]
    losses = []
    for number in range(_STEPS):
        batch = rank_batch(number, rank, size, keys)
        parallel.model.train()
        next(outputs(pipeline, iter([batch])))
        head.update_ema()
        parallel.model.eval()
        with torch.no_grad():
            (output,) = outputs(pipeline, iter([batch]))
        torch.distributed.all_reduce(output.losses_T)
        losses.append(output.losses_T / size)
    assert head.ema is not None
    average = {name: value.clone() for name, value in head.ema.state_dict().items()}
    return torch.stack(losses), average


def test_two_ranks_equal_one() -> None:
    ((alone, _),) = run_ranks(train_some, 1, ("table_wise",))
    together = run_ranks(train_some, 2, ("row_wise",))
    for losses, _ in together:
        torch.testing.assert_close(losses, alone, rtol=1e-5, atol=1e-6)
    assert (alone[0] - alone[-1]).abs().max() > 1e-3
    (_, left), (_, right) = together
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
