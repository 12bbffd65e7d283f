"""A study of real runs: what it rejects, what it writes, how it resumes after a kill."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from launchers.cli.main import main
from pipeline.data.schema import Schema
from pipeline.experiments.study_design import design_study
from pipeline.io.exit_codes import ExitCode
from pipeline.ranks.world import open_world
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features

_ARGUMENTS = ["--towers", "home,single_task", "--seeds", "2", "--jobs", "2"]
_FIELDS = ["--train.batch_size", "64", "--train.max_steps", "40", "--train.eval_every", "20"]


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    study = ["compare", "debug", "--data.path", str(data), "--out", str(out)]
    return [*study, *_ARGUMENTS, *_FIELDS, *more]


def compare(data: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit code and stdout."""
    with redirect_stdout(io.StringIO()) as shown:
        code = main(arguments(data, out, *more))
    return code, shown.getvalue()


def end_early(number: signal.Signals, data: Path, out: Path, *more: str) -> tuple[int, str]:
    """Start the study, and send it a signal once a run has trained a step; exit code and output."""
    before = logged(out)
    with subprocess.Popen(
        [sys.executable, "-m", "launchers.cli", *arguments(data, out, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        while logged(out) <= before and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate()
        return process.returncode, output


def logged(out: Path) -> int:
    """Steps that all runs have logged."""
    return sum(
        path.read_text(encoding="utf-8").count("\n") for path in out.glob("*/*/metrics.jsonl")
    )


def metrics(out: Path) -> Any:
    """All of study.json that is no time."""
    study = json.loads((out / "study.json").read_text(encoding="utf-8"))
    for run in study["runs"]:
        run.pop("seconds", None)
        run.pop("samples_per_s", None)
    return study


@pytest.fixture(scope="module")
def undisturbed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "undisturbed"
    code, shown = compare(synthetic, out)
    assert code == 0, shown
    assert "Is home better here?" in shown
    return out


def test_a_study_leaves_what_it_should(undisturbed: Path) -> None:
    assert {path.name for path in undisturbed.iterdir()} == {
        "home",
        "lock",
        "report.html",
        "single_task",
        "study.json",
        "table.md",
    }
    study = metrics(undisturbed)
    assert study["split"] == "test"
    assert [run["status"] for run in study["runs"]] == ["done"] * 4
    for run in study["runs"]:
        folder = undisturbed / run["folder"]
        assert (folder / "report.html").is_file()
        (kept,) = (folder / "checkpoints").glob("step-*")
        assert kept.name == f"step-{run['step']:08d}"
        assert run["val"].keys() == run["test"].keys() == set(study["tasks"])
    row = study["summary"]["auc"]["click"]["home"]
    values = [run["test"]["click"]["auc"] for run in study["runs"] if run["tower"] == "home"]
    assert row["mean"] == pytest.approx(sum(values) / 2)


@pytest.mark.slow
@pytest.mark.timeout(900)  # three starts of a study, on a machine that may be busy
def test_a_study_stopped_and_killed_continues_to_the_same_result(
    undisturbed: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "disturbed"
    code, output = end_early(signal.SIGINT, synthetic, out)
    assert code == ExitCode.STOPPED, output
    assert "continue with --resume" in output
    assert "done" not in {
        run["status"]
        for run in json.loads((out / "study.json").read_text(encoding="utf-8"))["runs"]
    }
    code, output = end_early(signal.SIGKILL, synthetic, out, "--resume")
    assert code == -signal.SIGKILL, output
    # At once: runs of the killed study may be saving still.
    code, output = compare(synthetic, out, "--resume")
    assert code == 0, output
    assert metrics(out) == metrics(undisturbed)


def test_a_study_keeps_what_is_not_asked_for_again(
    undisturbed: Path,
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Fewer towers and seeds run nothing and lose nothing; other settings are rejected."""
    out = tmp_path / "study"
    shutil.copytree(undisturbed, out)
    table = (out / "table.md").read_text(encoding="utf-8")
    base = ["compare", "debug", "--data.path", str(synthetic), "--out", str(out)]
    base += [*_FIELDS, "--resume"]
    assert main([*base, "--towers", "home", "--seeds", "1"]) == 0
    assert "1 of 1 runs are done, 3 other runs are kept" in capsys.readouterr().out
    assert metrics(out) == metrics(undisturbed)
    assert (out / "table.md").read_text(encoding="utf-8") == table
    assert main(base) == 0  # no towers, no seeds: the study's own
    assert metrics(out) == metrics(undisturbed)

    assert (
        main([*base, "--towers", "mmoe", "--seeds", "3,", "--dense.lr", "0.5", "--jobs", "1"]) == 2
    )
    assert "home/seed-0/config.json: dense.lr differs" in capsys.readouterr().err
    (out / "home" / "seed-1" / "outcome.json").unlink()  # not asked for now, and no longer there
    assert main([*base, "--towers", "single_task", "--seeds", "1"]) == 0
    study = metrics(out)
    status = {(run["tower"], run["seed"]): run["status"] for run in study["runs"]}
    assert status.pop(("home", 1)) == "pending"
    assert set(status.values()) == {"done"}
    assert study["summary"]["auc"]["click"]["home"]["n"] == 1
    assert any("(home 1, single_task 2)" in note for note in study["notes"])


def test_a_study_is_back_if_none_of_the_new_one_saves(
    undisturbed: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    shutil.copytree(undisturbed, out)
    words = ["--overwrite", "--towers", "home", "--seeds", "1", "--dense.lr", "1e30"]
    words += ["--schedule.warmup_steps", "0", "--dense.clip_norm", "0"]
    code, shown = compare(synthetic, out, *words)
    assert code == 1
    assert "no run has saved a checkpoint, so the old study was restored" in shown
    assert metrics(out) == metrics(undisturbed)
    assert (out / "failed-start" / "home" / "seed-0.log").exists()
    code, shown = compare(synthetic, out, "--overwrite", "--towers", "home", "--seeds", "1")
    assert code == 0, shown
    assert {path.name for path in out.iterdir()} >= {"home", "study.json"}
    assert not (out / "failed-start").exists()
    assert not (out / ".replaced").exists()


def test_a_run_that_fails_is_reported_and_the_others_continue(
    undisturbed: Path, synthetic: Path
) -> None:
    """Last on this study: it takes one of its runs away."""
    broken = undisturbed / "single_task" / "seed-1"
    (broken / "outcome.json").unlink()
    for part in broken.glob("checkpoints/step-*/*.distcp"):
        part.write_bytes(b"no checkpoint")
    code, shown = compare(synthetic, undisturbed, "--resume", "--seeds", "3")
    assert code == 1
    (line,) = re.findall("^failed: .*", shown, re.MULTILINE)
    assert line.startswith("failed: single_task seed 1: ")
    assert "no checkpoint here is valid" in line
    assert "seed-1.log" in line
    study = metrics(undisturbed)
    status = {(run["tower"], run["seed"]): run["status"] for run in study["runs"]}
    assert status.pop(("single_task", 1)) == "failed"
    assert set(status.values()) == {"done"}
    assert ("home", 2) in status
    assert study["summary"]["auc"]["click"]["home"]["against"]["n"] == 2


def test_towers_of_a_seed_see_the_same_batches(synthetic: Path, tmp_path: Path) -> None:
    with open_world() as world:
        design = design_study(
            recipe="debug",
            overrides=["--data.path", str(synthetic)],
            towers=["home", "mmoe*", "single_task"],
            seeds=[0, 1],
            out=tmp_path,
            against=None,
            match=None,
            world=world,
        )
        schema = Schema.load(synthetic)
        labels = {}
        for run in design.runs:
            source = open_split(
                run.config, resolve_features(run.config, schema), "train", world, purpose="train"
            )
            batches = list(source)
            labels[run.tower, run.seed] = torch.stack(
                [torch.cat([batch.users[:, None], batch.labels], 1) for batch in batches]
            )
    for tower in ("mmoe*", "single_task"):
        for seed in (0, 1):
            assert torch.equal(labels["home", seed], labels[tower, seed])
    assert not torch.equal(labels["home", 0], labels["home", 1])


BAD = [
    (["--towers", "home,mmo"], r"--towers: unknown: 'mmo' \(did you mean 'mmoe'\?\)$"),
    (["--jobs", "0"], "--jobs"),
    (["--towers", "home,home"], "'home' is given twice"),
    (["--against", "adatt"], "--against 'adatt' is not a tower of this study"),
    (["--train.epoch", "2"], "unknown field 'train.epoch'"),
    (["--train.seed", "3"], "--train.seed is set per run; use --seeds instead"),
    (["--model.tower.kind=mmoe"], "use --towers instead"),
    (["--data.path", "nowhere"], "nowhere: not a prepared folder"),
    (["--train.batch_size", "20000"], "fewer than one global batch"),
    (["--resume"], "no study to resume"),
    (["--resume", "--overwrite"], "contradict each other"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_what_would_not_run_is_rejected_before_anything_runs(
    words: list[str],
    message: str,
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "study"
    base = ["compare", "debug", "--out", str(out), "--data.path", str(synthetic)]
    assert main([*base, *words]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "homerec: error" in text]
    assert re.search(message, line), line
    assert not out.exists()


def test_dry_run_lists_the_runs_and_writes_nothing(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "debug", "--out", str(tmp_path / "x"), "--dry-run"]
    words += ["--data.path", str(synthetic), "--towers", "home,mmoe", "--seeds", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "home seed 0: " in shown
    assert "2 runs of " in shown
    assert not (tmp_path / "x").exists()


def test_an_unknown_recipe_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "dmeo", "--out", str(tmp_path / "study")]) == 2
    assert "unknown recipe 'dmeo'" in capsys.readouterr().err


def test_a_study_is_not_mixed_with_another(
    undisturbed: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["compare", "debug", "--data.path", str(synthetic), *_ARGUMENTS, *_FIELDS]
    assert main([*base, "--out", str(undisturbed)]) == 2
    assert "pass --resume to continue it" in capsys.readouterr().err
    assert main([*base, "--out", str(undisturbed), "--resume", "--dense.lr", "0.5"]) == 2
    assert "dense.lr differs from this command" in capsys.readouterr().err
    (tmp_path / "photo.jpg").touch()
    assert main([*base, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "not a study" in capsys.readouterr().err
    assert (tmp_path / "photo.jpg").exists()


@pytest.mark.parametrize("seeds", ["0", "-1", "3,3", "", "a", "1.5", str(2**31) + ","])
def test_seeds_that_are_none_are_rejected(seeds: str, tmp_path: Path) -> None:
    words = ["compare", "debug", "--out", str(tmp_path / "x"), "--seeds", seeds]
    assert main(words) == 2
