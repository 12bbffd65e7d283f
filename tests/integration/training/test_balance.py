"""Every balance of tasks over ranks with sharded tables, and in a run that is resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.sections import LossConfig
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.integration.training.runs import run, tensors
from tests.ranks import run_ranks

_STEPS = 5
_LOSSES: dict[str, dict[str, Any]] = {
    "uncertainty": {"balance": {"kind": "uncertainty"}},
    "gradnorm": {"balance": {"kind": "gradnorm", "lr": 0.1}},
    "pcgrad": {"balance": {"kind": "pcgrad"}, "task_weights": {"click": 2.0}},
    "sampling": {
        "positive_weights": {"forward": 3.0},
        "negative_sampling": {"click": 0.5, "forward": 0.7},
    },
}
_KINDS = ("uncertainty", "gradnorm", "pcgrad")


def train_each(rank: int, size: int, types: tuple[str, ...]) -> dict[str, Any]:
    """A few steps under each loss: global losses, task weights, and the state that is saved."""
    results = {}
    for name, loss in _LOSSES.items():
        settings = config(types)
        settings = settings.model_copy(update={"loss": LossConfig.model_validate(loss)})
        chosen = resolve_features(settings, SCHEMA)
        step, parallel = build(settings, chosen, this_world())
        pipeline = open_pipeline(parallel, this_world())
        parallel.model.train()
        keys = [feature.name for feature in chosen.features]
        batches = iter([rank_batch(number, rank, size, keys) for number in range(_STEPS)])
        losses, weights = [], []
        for _ in range(_STEPS):
            output = pipeline.progress(batches)
            torch.distributed.all_reduce(output.losses_T)
            losses.append(output.losses_T / size)
            weights.append(output.task_weights_T)
        results[name] = {
            "losses": torch.stack(losses),
            "weights": torch.stack(weights),
            "saved": {key: value.clone() for key, value in step.loss.state_dict().items()},
        }
    return results


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    result: dict[str, Any] = run_ranks(train_each, 1, ("table_wise",))[0]
    return result


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = run_ranks(train_each, 2, ("row_wise",))
    return result


@pytest.mark.parametrize("name", _LOSSES)
def test_two_ranks_equal_one(
    name: str, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    for result in together:
        for part in ("losses", "weights"):
            torch.testing.assert_close(result[name][part], alone[name][part], rtol=1e-5, atol=1e-6)
        assert result[name]["saved"].keys() == alone[name]["saved"].keys() != set()
        for key, value in alone[name]["saved"].items():
            torch.testing.assert_close(result[name]["saved"][key], value, rtol=1e-5, atol=1e-6)


def test_the_weights_do_something(alone: dict[str, Any]) -> None:
    """What the equality above compares is not a constant."""
    for name in _KINDS:
        weights = alone[name]["weights"]
        assert (weights[-1] - 1).abs().max() > 1e-3, name
    curves = [result["losses"][-1] for result in alone.values()]
    for i, left in enumerate(curves):
        assert all((left - right).abs().max() > 1e-5 for right in curves[:i])


def resumed_each(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    """Each kind: a run of 4 steps, and what of it was there after 2 steps, resumed."""
    codes = []
    for kind in _KINDS:
        words = ["--loss.balance.kind", kind, "--loss.negative_sampling.click", "0.5"]
        words += ["--train.max_steps", "4", "--checkpoint.every", "2"]
        codes.append(run(rank, size, data, out / kind, words))
        again = out / f"{kind}-again"
        if rank == 0:
            shutil.copytree(out / kind, again)
            shutil.rmtree(again / "checkpoints" / "step-00000004")
        torch.distributed.barrier()
        codes.append(run(rank, size, data, again, [], resume=True))
    return codes


def test_resume_is_bit_equal(synthetic: Path, tmp_path: Path) -> None:
    assert run_ranks(resumed_each, 2, synthetic, tmp_path) == [[0] * 6] * 2
    states = {"uncertainty": "log_variances", "gradnorm": "weights", "pcgrad": "_draws.count"}
    for kind, state in states.items():
        left = tensors(tmp_path / kind / "checkpoints" / "step-00000004", tmp_path)
        right = tensors(tmp_path / f"{kind}-again" / "checkpoints" / "step-00000004", tmp_path)
        assert left.keys() == right.keys()
        assert {f"/model/loss.balance.{state}", "/model/loss.label_weights._draws.count"} <= {*left}
        assert [name for name in left if not torch.equal(left[name], right[name])] == []
