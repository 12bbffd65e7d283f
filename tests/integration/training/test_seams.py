"""A tower, a batch source, a metric and a hook of one's own: trained, resumed and reported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.tasks import Task
from pipeline.config.overrides import configure
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.schema import SPLIT
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.metrics.spec import METRICS, MetricSpec
from pipeline.ranks.world import World, this_world
from pipeline.train import train
from pipeline.training.dataloader import open_split
from pipeline.training.hooks import Hook
from pipeline.training.resolve_features import Selection
from pipeline.training.step import StepOutput
from tests.integration.training.runs import tensors
from tests.ranks import run_ranks


def plain_tower(num_features: int, tasks: Sequence[Task]) -> nn.Module:
    """Modules of torch.nn alone; a running statistic and a draw among them."""
    return nn.Sequential(
        nn.Linear(num_features, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(16, len(tasks)),
    )


class ListSource:
    """Batches of a list, `endless` or pass after pass."""

    def __init__(self, batches: list[Batch], *, endless: bool) -> None:
        self._batches, self._endless, self._at = batches, endless, 0

    @property
    def steps_left(self) -> int | None:
        return None if self._endless else len(self._batches) - self._at

    def __iter__(self) -> Iterator[Batch]:
        self._at %= len(self._batches)
        while self._at < len(self._batches):
            self._at += 1
            yield self._batches[self._at - 1]
            if self._endless:
                self._at %= len(self._batches)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self._at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._at = state["at"]


class Counter(Hook):
    """Counts the steps that were not skipped."""

    steps = 0

    def after_step(self, step: int, output: StepOutput) -> None:
        self.steps += not output.skipped


BRIER = MetricSpec(
    name="brier",
    heading="Brier score",
    function=lambda rows: float((rows.probabilities_N - rows.labels_N).square().mean()),
    higher_is_better=False,
    note="Lower is better.",
)


def lists(*, endless: bool) -> Any:
    """An `open_split` whose sources yield from lists."""

    def opened(
        config: Config, chosen: Selection, split: SPLIT, world: World, *, purpose: Any
    ) -> ListSource:
        batches = list(open_split(config, chosen, split, world, purpose=purpose))[:6]
        return ListSource(batches, endless=endless and purpose == "train")

    return opened


_SMALL = ["--train.batch_size", "256", "--train.select", "mean/brier", "--train.log_every", "2"]
_EVERY_FEATURE = [
    *("--train.ema_decay", "0.9", "--train.micro_batch_size", "64", "--train.bf16", "on"),
    *("--train.deterministic", "true", "--expert_health.probe_every", "2"),
    *("--faults.on_nonfinite", "skip", "--faults.on_loss_spike", "skip"),
    *("--faults.straggler_window", "2", "--debug.check_replica_consistency", "2"),
    *("--checkpoint.every", "4", "--checkpoint.incremental_every", "2"),
    *("--checkpoint.asynchronous", "true", "--sparse.reset_min_rows", "100"),
    *("--loss.positive_weights.click", "2", "--dense.clip_norm", "1"),
]


def runs(rank: int, size: int, data: Path, out: Path, words: list[str], endless: bool) -> Any:
    """Exit codes of a run of 8 steps, and of one of 4 that is resumed; the second's results."""
    METRICS.append(BRIER)
    options: Any = {"tower": plain_tower, "open_split": lists(endless=endless)}
    world, codes = this_world(), []
    fields = ["--data.path", str(data), *_SMALL, *words]
    for name, steps, resume in (("whole", 8, False), ("halves", 4, False), ("halves", 8, True)):
        given = ["--train.max_steps", str(steps), *([] if resume else fields)]
        config, folder = configure(
            "debug", None, out / name, given, resume=resume, must_exist=resume
        )
        counter = Counter()
        codes.append(train(config, folder, world, resume=resume, hooks=[counter], **options))
        assert counter.steps == (8 if name == "whole" else 4)
    return codes, evaluate_checkpoint(out / "halves", "val", None, world, **options)[0]


@pytest.mark.parametrize(
    ("words", "endless"),
    [
        (_EVERY_FEATURE, False),
        (["--loss.balance.kind", "gradnorm", "--train.eval_every", "4"], True),
        (["--loss.balance.kind", "pcgrad", "--model.sync_batch_norm", "true"], False),
    ],
)
def test_parts_of_ones_own_train_resume_and_report(
    words: list[str], endless: bool, synthetic: Path, tmp_path: Path
) -> None:
    words = ["--train.epochs", "2", *words]
    first, second = run_ranks(runs, 2, synthetic, tmp_path, words, endless)
    assert first == second
    codes, evaluated = first
    assert codes == [0, 0, 0]
    whole, halves = (
        tensors(tmp_path / name / "checkpoints" / "step-00000008", tmp_path)
        for name in ("whole", "halves")
    )
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    results = json.loads((tmp_path / "halves" / "results.json").read_text(encoding="utf-8"))
    assert results["tasks"] == evaluated
    assert all(0 < row["brier"] < 1 for row in evaluated.values())
    logged = (tmp_path / "halves" / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [line for line in map(json.loads, logged.splitlines()) if line["kind"] == "train"]
    assert all(any(f"{task}/brier" in line for line in lines) for task in evaluated)
    assert (tmp_path / "halves" / "report.html").is_file()


def no_end(rank: int, size: int, data: Path, out: Path) -> str:
    config, folder = configure(
        "debug", None, out, ["--data.path", str(data), "--train.max_steps", "0"],
        resume=False, must_exist=False,
    )  # fmt: skip
    with pytest.raises(UserError) as error:
        train(config, folder, this_world(), open_split=lists(endless=True))
    return str(error.value)


def test_an_endless_source_needs_a_last_step(synthetic: Path, tmp_path: Path) -> None:
    (message,) = run_ranks(no_end, 1, synthetic, tmp_path / "run")
    assert message.startswith("train.max_steps: 0, but the source is endless")
