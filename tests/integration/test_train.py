"""A run on two ranks: what it leaves, how it goes on, how it ends when it must."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.checkpoint import find_checkpoint, saved_steps
from pipeline.config import Config
from pipeline.distributed import this_world
from pipeline.errors import UserError
from pipeline.evaluate import evaluate_checkpoint
from pipeline.overrides import amend, resolve
from pipeline.train import STOPPED, train
from tests.ranks import run_ranks

_FIELDS = ["--train.max_steps", "8", "--train.eval_every", "5", "--train.batch_size", "256"]


def run(rank: int, size: int, data: Path, out: Path, words: list[str], resume: bool = False) -> Any:
    """`homerec train debug` on ranks that are up; the exit code, or the user's error."""
    fields = ["--data.path", str(data), *_FIELDS, *words]
    if resume and (out / "config.json").exists():
        config = amend(Config.load(out / "config.json"), "debug", None, words)
    else:
        config = resolve("debug", None, fields)
    try:
        return train(config, out, this_world(), resume=resume, overwrite=False)
    except UserError as error:
        return str(error)


def stopped_by_signal(rank: int, size: int, data: Path, out: Path) -> Any:
    """As `run`, with a SIGTERM to rank 1 while it trains."""
    if rank == 1:
        threading.Thread(target=_terminate_when, args=(out / "metrics.jsonl",), daemon=True).start()
    return run(rank, size, data, out, ["--train.log_every", "1"])


def _terminate_when(log: Path) -> None:
    """Send this process SIGTERM once training has logged a step."""
    while not (log.exists() and log.read_text().count("\n") >= 2):
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def disk_full(rank: int, size: int, data: Path, out: Path) -> Any:
    """As `run`, where rank 1 may write no file over 100 kB: its part of a checkpoint fails."""
    if rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    return run(rank, size, data, out, [], resume=True)


def evaluated(rank: int, size: int, checkpoint: Path) -> Any:
    return evaluate_checkpoint(checkpoint, "val", None, this_world())[0]


def tensors(checkpoint: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, both optimizers' included, put together from its shards."""
    whole = folder / f"{checkpoint.parent.parent.name}.pt"
    dcp_to_torch_save(checkpoint, whole)
    found: dict[str, torch.Tensor] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                collect(f"{name}/{key}", part)

    collect("", torch.load(whole, weights_only=False))
    return found


@pytest.fixture(scope="module")
def undisturbed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps on two ranks that nothing happened to."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run_ranks(run, 2, synthetic, out, []) == [0, 0]
    return out


def test_a_run_leaves_what_it_should(undisturbed: Path) -> None:
    names = {path.name for path in undisturbed.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "health.json",
        "metrics.jsonl",
        "plan.json",
        "report.html",
        "results.json",
        "schema.json",
        "tensorboard",
    }
    assert saved_steps(undisturbed / "checkpoints") == [5, 8]
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 9))
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [5, 8]
    results = json.loads((undisturbed / "results.json").read_text())
    assert set(results["tasks"]["click"]) >= {"auc", "gauc", "ne", "calibration", "oracle_auc"}


def test_resume_is_bit_equal(undisturbed: Path, synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "4"]) == [0, 0]
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "8"], True) == [0, 0]
    left = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    right = tensors(out / "checkpoints" / "step-00000008", tmp_path)
    assert left.keys() == right.keys()
    assert any("momentum" in name for name in left)
    assert any("exp_avg_sq" in name for name in left)
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


@pytest.mark.parametrize("size", [1, 3])
def test_other_numbers_of_ranks_go_on(synthetic: Path, tmp_path: Path, size: int) -> None:
    out = tmp_path / "elastic"
    words = ["--train.max_steps", "4", "--train.batch_size", "240"]
    assert run_ranks(run, 2, synthetic, out, words) == [0, 0]
    assert run_ranks(run, size, synthetic, out, ["--train.max_steps", "8"], True) == [0] * size
    assert saved_steps(out / "checkpoints") == [5, 8]


def test_training_changes_the_weights(undisturbed: Path, tmp_path: Path) -> None:
    """What the equality above compares is not a constant."""
    early = tensors(undisturbed / "checkpoints" / "step-00000005", tmp_path)
    late = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    different = [name for name in early if not torch.equal(early[name], late[name])]
    assert len(different) > len(early) // 2


def test_a_signal_to_one_rank_saves_on_all_and_resume_goes_on(
    undisturbed: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    assert run_ranks(stopped_by_signal, 2, synthetic, out) == [STOPPED, STOPPED]
    (step,) = saved_steps(out / "checkpoints")[-1:]
    assert 0 < step < 8
    assert run_ranks(run, 2, synthetic, out, [], True) == [0, 0]
    left = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    right = tensors(out / "checkpoints" / "step-00000008", tmp_path)
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def test_a_failed_save_leaves_the_last_good_checkpoint(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "full"
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "4"]) == [0, 0]
    before = sorted(path.name for path in (out / "checkpoints").iterdir())
    (out / "config.json").write_text(
        (out / "config.json").read_text().replace('"max_steps": 4', '"max_steps": 8')
    )
    first, second = run_ranks(disk_full, 2, synthetic, out)
    assert first == second
    assert "step-00000005: not saved: " in first
    assert "MB free there" in first
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == before
    assert run_ranks(run, 2, synthetic, out, [], True) == [0, 0]


def test_a_loss_that_is_not_finite_names_step_task_and_batch(
    synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "diverged"
    words = ["--dense.lr", "1e30", "--schedule.warmup_steps", "0", "--dense.clip_norm", "0"]
    first, second = run_ranks(run, 2, synthetic, out, words)
    assert first == second
    assert first.startswith("step ")
    assert "loss is not finite on rank" in first
    assert "click nan" in first
    assert "batch: epoch 0, batch " in first
    assert "part-" in first
    assert saved_steps(out / "checkpoints") == []


@pytest.mark.parametrize("size", [1, 2])
def test_evaluating_the_checkpoint_again_gives_its_figures(undisturbed: Path, size: int) -> None:
    results = json.loads((undisturbed / "results.json").read_text())
    best = find_checkpoint(undisturbed)
    assert best.name == f"step-{results['step']:08d}"
    again = run_ranks(evaluated, size, best)
    assert again[0] == again[-1]
    for task, figures in results["tasks"].items():
        assert again[0][task] == pytest.approx(figures, rel=1e-5), task


def test_a_used_folder_is_not_written_over(undisturbed: Path, synthetic: Path) -> None:
    messages = run_ranks(run, 2, synthetic, undisturbed, [])
    assert messages[0] == messages[1]
    assert "holds a run (saved up to step 8)" in messages[0]
    assert "--resume" in messages[0]


BAD = [
    (["--data.tasks", "clik"], "unknown task 'clik' in .*; did you mean 'click'"),
    (["--data.features", "usr_id"], "data.features: 'usr_id' is no feature of"),
    (["--loss.task_weights.lick", "2"], "loss.task_weights.lick: not trained here"),
    (["--train.select", "likes/auc"], "train.select: 'likes' is no task of this run"),
    (["--train.batch_size", "255"], "train.batch_size: 255 rows do not divide by 2 ranks"),
    (["--train.batch_size", "20000"], "fewer than one global batch of 20000"),
    (["--data.path", "nowhere"], "nowhere: not a prepared folder"),
    (["--embeddings.tables.vido.dim", "8"], "embeddings.tables.vido: no table of that name"),
]


def run_all(rank: int, size: int, data: Path, out: Path, cases: list[list[str]]) -> Any:
    return [run(rank, size, data, out, words) for words in cases]


def test_bad_input_is_one_line_on_every_rank(synthetic: Path, tmp_path: Path) -> None:
    first, second = run_ranks(run_all, 2, synthetic, tmp_path / "bad", [words for words, _ in BAD])
    assert first == second
    for line, (_, message) in zip(first, BAD, strict=True):
        assert re.search(message, line), line
        assert "\n" not in line
    assert not (tmp_path / "bad").exists()
