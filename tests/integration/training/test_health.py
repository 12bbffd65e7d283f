"""Probes in real runs: they change nothing, and report what is so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.layers.experts import ExpertLayer
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from tests.integration.training.runs import copy_killed_after, run, tensors
from tests.ranks import run_ranks

_LATE = ["--train.log_every", "5"]  # so that other verdicts are read late
_PROBE = ["--expert_health.probe_every", "2", *_LATE]


@pytest.fixture(scope="module")
def probed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps on two ranks, probed in every other one."""
    out = tmp_path_factory.mktemp("health") / "probed"
    assert run_ranks(run, 2, synthetic, out, _PROBE) == [0, 0]
    return out


def probes(out: Path) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [line for line in lines if line["kind"] == "health"]


def test_training_is_bit_equal_with_probes_and_without(
    probed: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "unprobed"
    assert run_ranks(run, 2, synthetic, out, ["--expert_health.probe_every", "0", *_LATE]) == [0, 0]
    assert probes(out) == []
    left = tensors(probed / "checkpoints" / "step-00000008", tmp_path)
    right = tensors(out / "checkpoints" / "step-00000008", tmp_path)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def test_probes_come_when_due_and_are_in_tensorboard(probed: Path) -> None:
    found = probes(probed)
    assert [line["step"] for line in found] == [2, 4, 6, 8]
    names = set(found[0])
    for name in (
        "experts/level2.task_specific.click.0/zero_fraction",
        "gates/click/level2.global.0",
        "self_gates/click/level2.task_specific.click.0",
        "meta_gates/watch/meta.shared.0",
        "shared/level2.global.0/entropy",
        "tasks/click/task_specific_weight",
        "tasks/click/weight_norm",
        "tasks/click/gradient_norm",
    ):
        assert name in names
        assert all(line[name] is not None for line in found)
    events = b"".join(path.read_bytes() for path in (probed / "tensorboard").iterdir())
    assert b"health/tasks/click/gradient_norm" in events


def test_health_json_has_metrics_of_training_and_a_diagnosis(probed: Path) -> None:
    health = json.loads((probed / "health.json").read_text(encoding="utf-8"))
    assert set(health["tasks"]["like"]) == {
        "positive_rate",
        "task_specific_weight",
        "weight_norm",
        "gradient_norm",
    }
    findings = health["diagnosis"]
    assert {finding["kind"] for finding in findings} == {"collapse", "degradation", "underfitting"}
    assert set(findings[0]) == {"kind", "subject", "severity", "text"}


def test_resume_remembers_the_probes_before(probed: Path, synthetic: Path, tmp_path: Path) -> None:
    """The norms in health.json are means over probes before and after the interruption."""
    out = copy_killed_after(5, probed, tmp_path / "cut")
    assert run_ranks(run, 2, synthetic, out, [], True) == [0, 0]
    left, right = (
        json.loads(
            (folder / "checkpoints" / "step-00000008" / "meta.json").read_text(encoding="utf-8")
        )["norms"]
        for folder in (probed, out)
    )
    assert len(left) == 4
    assert left == right


def killed_expert(rank: int, size: int, data: Path, out: Path, dead: str) -> Any:
    """A run whose expert `dead` has lost its last layer's weights after step 4, then resumed."""
    assert run(rank, size, data, out, ["--train.max_steps", "4"]) == 0
    world = this_world()
    config = Config.load(out / "config.json")
    schema = Schema.load(config.data.path)
    step, parallel = build(config, resolve_features(config, schema), world)
    checkpoints = Checkpoints(out / "checkpoints", world, config, schema)
    progress = checkpoints.load_latest(parallel.model, parallel.optimizer)
    assert progress is not None
    tower: Any = step.model.head.tower
    experts = tower.level2.experts
    with torch.no_grad():
        layer = experts.layers[-1]
        assert isinstance(layer, ExpertLayer)
        layer.linear.weight[experts.names.index(dead)] = 0
    progress.step = 5
    checkpoints.save(parallel.model, parallel.optimizer, progress)
    checkpoints.wait()
    # Rates so small that nothing comes back to life.
    words = ["--train.max_steps", "6", "--dense.lr", "1e-30", "--train.eval_every", "6"]
    return run(rank, size, data, out, [*words, "--train.select", "mean/ne"], resume=True)


def test_a_dead_expert_is_named(
    synthetic: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dead"
    dead = "level2.category.watch.1"
    assert run_ranks(killed_expert, 1, synthetic, out, dead) == [0]
    findings = json.loads((out / "health.json").read_text(encoding="utf-8"))["diagnosis"]
    wrong = [finding for finding in findings if finding["severity"] == "wrong"]
    assert [(finding["kind"], finding["subject"]) for finding in wrong] == [("collapse", dead)]
    assert "dead, its output is the same for every row" in wrong[0]["text"]
    printed = " ".join(capfd.readouterr().out.split())
    assert f"experts: {dead}: dead, its output is the same for every row" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{dead}: dead, its output is the same" in page
