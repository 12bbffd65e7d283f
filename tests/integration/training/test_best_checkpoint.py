"""The best checkpoint, over early stopping, resumes and kills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint.layout import find_checkpoint, saved_steps
from pipeline.io.storage import remove_tree
from tests.integration.training.runs import run
from tests.ranks import run_ranks


def early_stopping(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run whose tower cannot get better after its first evaluation, twice resumed."""
    words = ["--train.eval_every", "2", "--train.patience", "2", "--checkpoint.keep", "1"]
    words += ["--train.select", "click/auc", "--dense.lr", "1e-30", "--sparse.lr", "1e-30"]
    words += ["--train.log_every", "4"]
    codes = [run(rank, size, data, out, words)]
    codes += [run(rank, size, data, out, [], resume=True) for _ in range(2)]
    return codes, saved_steps(out / "checkpoints")


def test_early_stopping_holds_over_resumes_and_the_best_stays(
    synthetic: Path, tmp_path: Path
) -> None:
    (result,) = run_ranks(early_stopping, 1, synthetic, tmp_path / "early")
    assert result == ([0, 0, 0], [2, 6])
    best = json.loads(
        (tmp_path / "early" / "checkpoints" / "best.json").read_text(encoding="utf-8")
    )
    assert best["step"] == 2
    log = (tmp_path / "early" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line for line in map(json.loads, log) if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [4, 6]  # the last one is of the run's end
    assert lines[-1]["loss/total"] > 0


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
    return [json.loads((out / name).read_text(encoding="utf-8")) for name in RESULTS]


def test_a_kill_in_an_evaluation_leaves_nothing_at_odds(synthetic: Path, tmp_path: Path) -> None:
    """Best checkpoint, results and health are those of one evaluation once the run resumes."""
    (found,) = run_ranks(killed_at_each, 1, synthetic, tmp_path)
    code, _, undisturbed = found.pop(0)
    assert code == 0
    assert undisturbed[0]["step"] == undisturbed[2]["step"] == 2
    for back, (code, again, after) in found.items():
        assert (code, again) == ("killed", 0), back
        assert after == undisturbed, back


def without_the_best(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run whose best checkpoint goes, then one judged by another metric: the steps of results and
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
    assert other == (4, "step-00000004")  # what was best by another metric is not known to be
