"""A run on two ranks: what it writes, how it resumes, how it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoint.layout import find_checkpoint, saved_steps
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from tests.integration.training.runs import DROPOUT, evaluated, run, saved_again, tensors
from tests.ranks import run_ranks


def stopped_by_signal(rank: int, size: int, data: Path, out: Path) -> Any:
    """As `run`, with a SIGTERM to rank 1 while it trains."""
    if rank == 1:
        threading.Thread(target=_terminate_when, args=(out / "metrics.jsonl",), daemon=True).start()
    return run(rank, size, data, out, [*DROPOUT, "--train.log_every", "1"])


def _terminate_when(log: Path) -> None:
    """Send this process SIGTERM once training has logged a step."""
    while not (log.exists() and log.read_text(encoding="utf-8").count("\n") >= 2):
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def disk_full(rank: int, size: int, data: Path, out: Path) -> Any:
    """As `run`, where rank 1 may write no file over 100 kB: its part of a checkpoint fails."""
    if rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    return run(rank, size, data, out, [], resume=True)


@pytest.fixture(scope="module")
def undisturbed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps on two ranks that nothing happened to."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run_ranks(run, 2, synthetic, out, DROPOUT) == [0, 0]
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
        "saved.json",
        "schema.json",
        "tensorboard",
    }
    assert saved_steps(undisturbed / "checkpoints") == [5, 8]
    lines = [
        json.loads(line)
        for line in (undisturbed / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 9))
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [5, 8]
    results = json.loads((undisturbed / "results.json").read_text(encoding="utf-8"))
    assert set(results["tasks"]["click"]) >= {"auc", "gauc", "ne", "calibration", "oracle_auc"}


def test_resume_is_bit_equal(undisturbed: Path, synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    words = [*DROPOUT, "--train.max_steps", "4"]
    assert run_ranks(run, 2, synthetic, out, words) == [0, 0]
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "8"], True) == [0, 0]
    left = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    right = tensors(out / "checkpoints" / "step-00000008", tmp_path)
    assert left.keys() == right.keys()
    assert any(name.startswith("/tables/") for name in left)
    assert any("exp_avg_sq" in name for name in left)
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []
    lines = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    # The window that training metrics are of continues, too.
    whole = [
        json.loads(line)
        for line in (undisturbed / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    now, then = (_window_metrics(found, step=8) for found in (lines, whole))
    assert len(now) > 3
    assert now == pytest.approx(then, rel=1e-6)


def _window_metrics(lines: list[dict[str, Any]], step: int) -> dict[str, float]:
    """Window metrics as logged in training, but for AUC, which does not always come."""
    (line,) = [line for line in lines if (line["kind"], line["step"]) == ("train", step)]
    ends = ("/ne", "/log_loss", "/calibration")
    return {name: value for name, value in line.items() if name.endswith(ends)}


def test_other_numbers_of_ranks_hold_the_same_state_and_resume(
    synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "elastic"
    words = ["--train.max_steps", "4", "--train.batch_size", "240"]
    assert run_ranks(run, 2, synthetic, out, words) == [0, 0]
    left = tensors(out / "checkpoints" / "step-00000004", tmp_path)
    for size in (1, 3):
        copy = tmp_path / f"on{size}"
        assert run_ranks(saved_again, size, out, copy) == [4] * size
        right = tensors(copy / "checkpoints" / "step-00000004", tmp_path)
        # Each rank has random states, and rows of the window of training metrics, of its own.
        names = [name for name in left if not name.startswith(("/random/", "/window/"))]
        assert len(names) > 50
        assert [name for name in names if not torch.equal(left[name], right[name])] == []
    assert run_ranks(run, 3, synthetic, out, ["--train.max_steps", "8"], True) == [0] * 3
    assert saved_steps(out / "checkpoints")[-2:] == [5, 8]  # and the best, if it is an older one


def test_training_changes_the_weights(undisturbed: Path, tmp_path: Path) -> None:
    """What the equality above compares is not a constant."""
    early = tensors(undisturbed / "checkpoints" / "step-00000005", tmp_path)
    late = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    different = [name for name in early if not torch.equal(early[name], late[name])]
    assert len(different) > len(early) // 2


def test_a_signal_to_one_rank_saves_on_all_and_resume_continues(
    undisturbed: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    assert run_ranks(stopped_by_signal, 2, synthetic, out) == [ExitCode.STOPPED, ExitCode.STOPPED]
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
        (out / "config.json")
        .read_text(encoding="utf-8")
        .replace('"max_steps": 4', '"max_steps": 8'),
        encoding="utf-8",
    )
    first, second = run_ranks(disk_full, 2, synthetic, out)
    assert first == second
    assert "step-00000005: not saved: " in first
    assert "MB free there" in first
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == before
    assert run_ranks(run, 2, synthetic, out, [], True) == [0, 0]


def test_weights_that_a_step_broke_are_not_saved(synthetic: Path, tmp_path: Path) -> None:
    """Step 1's loss is that of sound weights: only its update breaks them."""
    out = tmp_path / "broken"
    words = ["--dense.lr", "1e37", "--schedule.warmup_steps", "0", "--dense.clip_norm", "0"]
    words += ["--dense.weight_decay", "1000", "--checkpoint.every", "1"]
    first, second = run_ranks(run, 2, synthetic, out, words)
    assert first == second
    assert re.search(r"step 1: weights .* are not finite on rank \d; not saved", first), first
    assert saved_steps(out / "checkpoints") == []
    fixed = ["--dense.lr", "0.001", "--dense.weight_decay", "0"]
    assert run_ranks(run, 2, synthetic, out, fixed, "auto") == [0, 0]


def test_other_data_is_not_resumed_with(undisturbed: Path, synthetic: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(undisturbed, out)
    shutil.copytree(synthetic, data)
    path = data / "schema.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"fingerprint": "', '"fingerprint": "0'),
        encoding="utf-8",
    )
    words = ["--train.max_steps", "10", "--data.path", str(data)]
    first, second = run_ranks(run, 2, Path(), out, words, True)
    assert first == second
    assert "was trained on data whose tables differ from those of" in first


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
def test_evaluating_the_checkpoint_again_gives_its_metrics(undisturbed: Path, size: int) -> None:
    results = json.loads((undisturbed / "results.json").read_text(encoding="utf-8"))
    best = find_checkpoint(undisturbed)
    assert best.name == f"step-{results['step']:08d}"
    again = run_ranks(evaluated, size, best)
    assert again[0] == again[-1]
    for task, metrics in results["tasks"].items():
        assert again[0][task] == pytest.approx(metrics, rel=1e-5), task


def test_a_used_folder_is_not_written_over(undisturbed: Path, synthetic: Path) -> None:
    messages = run_ranks(run, 2, synthetic, undisturbed, [])
    assert messages[0] == messages[1]
    assert "contains a run (saved up to step 8)" in messages[0]
    assert "--resume" in messages[0]


BAD = [
    (["--data.tasks", "clik"], "unknown task 'clik' in .*; did you mean 'click'"),
    (["--data.features", "usr_id"], "data.features: 'usr_id' is not a feature of"),
    (["--loss.task_weights.lick", "2"], "loss.task_weights.lick: not trained here"),
    (["--loss.positive_weights.lick", "2"], "loss.positive_weights.lick: not trained here"),
    (["--loss.negative_sampling.lick", "1"], "loss.negative_sampling.lick: not trained here"),
    (["--data.features", "log_*"], "data.features: no sparse feature of"),
    (["--dense.betas", "2,3"], "dense.betas.0: '2': write a number < 1"),
    (["--dense.lr", "inf"], "dense.lr: 'inf': .*finite"),
    (["--train.seed", "99999999999"], "train.seed: .*write a number <"),
    (["--train.select", "likes/auc"], "train.select: 'likes' is not a task of this run"),
    (["--train.batch_size", "1"], "train.batch_size: 1 rows are fewer than 2 ranks"),
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


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json: not JSON"):
        Config.load(tmp_path / "config.json")
