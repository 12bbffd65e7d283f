"""A run on two ranks: what it leaves, how it goes on, how it ends when it must."""

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
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.checkpoint.layout import find_checkpoint, saved_steps
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.overrides import configure
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.storage import remove_tree
from pipeline.ranks.world import this_world
from pipeline.train import train
from pipeline.training.build import assemble
from pipeline.training.resolve_features import select
from tests.ranks import run_ranks

_FIELDS = ["--train.max_steps", "8", "--train.eval_every", "5", "--train.batch_size", "256"]
# A resume must bring back the random state of each rank, too.
_DROPOUT = ["--model.tower.dropout", "0.1"]


def run(rank: int, size: int, data: Path, out: Path, words: list[str], resume: bool = False) -> Any:
    """`homerec train debug` on ranks that are up; the exit code, or the user's error."""
    fields = ["--data.path", str(data), *_FIELDS, *words]
    try:
        words = words if resume else fields
        config, out = configure("debug", None, out, words, resume=resume, must_exist=resume)
        return train(config, out, this_world(), resume=resume, overwrite=False)
    except UserError as error:
        return str(error)


def stopped_by_signal(rank: int, size: int, data: Path, out: Path) -> Any:
    """As `run`, with a SIGTERM to rank 1 while it trains."""
    if rank == 1:
        threading.Thread(target=_terminate_when, args=(out / "metrics.jsonl",), daemon=True).start()
    return run(rank, size, data, out, [*_DROPOUT, "--train.log_every", "1"])


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
    assert run_ranks(run, 2, synthetic, out, _DROPOUT) == [0, 0]
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
    words = [*_DROPOUT, "--train.max_steps", "4"]
    assert run_ranks(run, 2, synthetic, out, words) == [0, 0]
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "8"], True) == [0, 0]
    left = tensors(undisturbed / "checkpoints" / "step-00000008", tmp_path)
    right = tensors(out / "checkpoints" / "step-00000008", tmp_path)
    assert left.keys() == right.keys()
    assert any(name.startswith("/tables/") for name in left)
    assert any("exp_avg_sq" in name for name in left)
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    # The window that training figures are of goes on, too.
    whole = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    now, then = (_figures(found, step=8) for found in (lines, whole))
    assert len(now) > 3
    assert now == pytest.approx(then, rel=1e-6)


def _figures(lines: list[dict[str, Any]], step: int) -> dict[str, float]:
    """Window figures as logged in training, but for AUC, which does not always come."""
    (line,) = [line for line in lines if (line["kind"], line["step"]) == ("train", step)]
    ends = ("/ne", "/log_loss", "/calibration")
    return {name: value for name, value in line.items() if name.endswith(ends)}


def saved_again(rank: int, size: int, run_folder: Path, out: Path) -> Any:
    """Load a run's newest checkpoint on these ranks, and save what was loaded."""
    world = this_world()
    config = Config.load(run_folder / "config.json")
    schema = Schema.load(config.data.path)
    _, parallel = assemble(config, select(config, schema), world)
    loaded = Checkpoints(run_folder / "checkpoints", world, config, schema)
    progress = loaded.load_latest(parallel.model, parallel.optimizer)
    assert progress is not None
    again = Checkpoints(out / "checkpoints", world, config, schema)
    again.save(parallel.model, parallel.optimizer, progress)
    again.wait()
    return progress.step


def test_other_numbers_of_ranks_hold_the_same_state_and_go_on(
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
        # Each rank has random states, and rows of the window of figures, of its own.
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


def test_a_signal_to_one_rank_saves_on_all_and_resume_goes_on(
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
        (out / "config.json").read_text().replace('"max_steps": 4', '"max_steps": 8')
    )
    first, second = run_ranks(disk_full, 2, synthetic, out)
    assert first == second
    assert "step-00000005: not saved: " in first
    assert "MB free there" in first
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == before
    assert run_ranks(run, 2, synthetic, out, [], True) == [0, 0]


def early_stopping(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run whose tower cannot get better after its first evaluation, twice resumed."""
    words = ["--train.eval_every", "2", "--train.patience", "2", "--checkpoint.keep", "1"]
    words += ["--train.select", "click/auc", "--dense.lr", "1e-30", "--sparse.lr", "1e-30"]
    codes = [run(rank, size, data, out, words)]
    codes += [run(rank, size, data, out, [], resume=True) for _ in range(2)]
    return codes, saved_steps(out / "checkpoints")


def test_early_stopping_holds_over_resumes_and_the_best_stays(
    synthetic: Path, tmp_path: Path
) -> None:
    (result,) = run_ranks(early_stopping, 1, synthetic, tmp_path / "early")
    assert result == ([0, 0, 0], [2, 6])
    best = json.loads((tmp_path / "early" / "checkpoints" / "best.json").read_text())
    assert best["step"] == 2


def test_weights_that_a_step_broke_are_not_saved(synthetic: Path, tmp_path: Path) -> None:
    """Step 1's loss is that of sound weights: only its update breaks them."""
    out = tmp_path / "broken"
    words = ["--dense.lr", "1e37", "--schedule.warmup_steps", "0", "--dense.clip_norm", "0"]
    words += ["--dense.weight_decay", "1000", "--checkpoint.every", "1"]
    first, second = run_ranks(run, 2, synthetic, out, words)
    assert first == second
    assert re.search(r"step 1: weights .* are not finite on rank \d; not saved", first), first
    assert saved_steps(out / "checkpoints") == []
    mended = ["--dense.lr", "0.001", "--dense.weight_decay", "0"]
    assert run_ranks(run, 2, synthetic, out, mended, True) == [0, 0]


def test_other_data_is_not_resumed_with(undisturbed: Path, synthetic: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(undisturbed, out)
    shutil.copytree(synthetic, data)
    path = data / "schema.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    words = ["--train.max_steps", "10", "--data.path", str(data)]
    first, second = run_ranks(run, 2, Path(), out, words, True)
    assert first == second
    assert "was trained on data whose tables are not those of" in first


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
    (["--loss.positive_weights.lick", "2"], "loss.positive_weights.lick: not trained here"),
    (["--loss.negative_sampling.lick", "1"], "loss.negative_sampling.lick: not trained here"),
    (["--data.features", "log_*"], "data.features: no sparse feature of"),
    (["--dense.betas", "2,3"], "dense.betas.0: '2': .*less than 1"),
    (["--dense.lr", "inf"], "dense.lr: 'inf': .*finite"),
    (["--train.seed", "99999999999"], "train.seed: .*less than"),
    (["--train.select", "likes/auc"], "train.select: 'likes' is no task of this run"),
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
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: line 1: not JSON"):
        Config.load(tmp_path / "config.json")


RESULTS = ("checkpoints/best.json", "health.json", "results.json")
_ONE_EVALUATION = [
    "--train.max_steps",
    "2",
    "--train.eval_every",
    "2",
    "--expert_health.probe_every",
    "1",
]


def write_dying(rank: int, size: int, data: Path, out: Path, last: int) -> tuple[Any, int]:
    """A run that is killed in writing its small file number `last`; its end, and how many."""
    replace, count = Path.replace, 0

    def dying(path: Path, target: Path) -> Path:
        nonlocal count
        if count == last:
            raise KeyboardInterrupt
        count += 1
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        try:
            return run(rank, size, data, out, _ONE_EVALUATION), count
        except KeyboardInterrupt:
            return "killed", count


def killed_at_each(rank: int, size: int, data: Path, folder: Path) -> Any:
    """By file of the evaluation in whose writing a run was killed: how the run ended, how it went
    on, and what it then tells; at 0 that of a run without a kill."""
    code, count = write_dying(rank, size, data, folder / "0", -1)
    found = {0: (code, 0, with_stats(folder / "0"))}
    for back in range(2, 8):  # the very last file is the report
        out = folder / str(back)
        code, _ = write_dying(rank, size, data, out, count - back)
        found[back] = (code, run(rank, size, data, out, [], resume=True), with_stats(out))
    return found


def with_stats(out: Path) -> list[Any]:
    return [json.loads((out / name).read_text()) for name in RESULTS]


def test_a_kill_in_an_evaluation_leaves_nothing_at_odds(synthetic: Path, tmp_path: Path) -> None:
    """Best checkpoint, results and health are those of one evaluation once the run goes on."""
    (found,) = run_ranks(killed_at_each, 1, synthetic, tmp_path)
    code, _, undisturbed = found.pop(0)
    assert code == 0
    assert undisturbed[0]["step"] == undisturbed[2]["step"] == 2
    for back, (code, again, after) in found.items():
        assert (code, again) == ("killed", 0), back
        assert after == undisturbed, back


def without_the_best(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run whose best checkpoint goes, then one judged by another figure: the steps of results and
    of the best checkpoint after each."""
    every = ["--train.eval_every", "1", "--train.select", "mean/log_loss"]
    assert run(rank, size, data, out, [*every, "--train.max_steps", "3"]) == 0
    remove_tree(find_checkpoint(out))
    found = []
    for words in (["--train.max_steps", "4"], ["--train.select", "mean/auc"]):
        assert run(rank, size, data, out, words, resume=True) == 0
        found.append((with_stats(out)[2]["step"], find_checkpoint(out).name))
    return found


def test_results_are_those_of_a_checkpoint_that_is_there(synthetic: Path, tmp_path: Path) -> None:
    (((removed, best), other),) = run_ranks(without_the_best, 1, synthetic, tmp_path / "run")
    assert best == f"step-{removed:08d}"
    assert other == (4, "step-00000004")  # what was best by another figure is not known to be


@pytest.mark.parametrize("text", ["[1]", "x", "{}"])
def test_a_damaged_note_of_the_best_is_named(undisturbed: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best.json").write_text(text)
    with pytest.raises(UserError, match=r"best\.json: damaged .*; remove it"):
        find_checkpoint(tmp_path / "run")
