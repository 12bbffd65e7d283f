"""A rolling study of real runs: what it rejects, what it writes, how it resumes after a kill."""

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

import polars as pl
import pytest

from launchers.cli.main import main
from models.towers.cost import cost
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.rolling.predictions import Predictions
from pipeline.io.exit_codes import ExitCode
from pipeline.training.resolve_features import resolve_features
from tests.pipeline.data.prepare.small_kuairand import make_log, write_raw

_FIELDS = ["--train.batch_size", "32", "--train.eval_every", "4", "--train.max_steps", "8"]
_STUDY = ["--towers", "home,single_task", "--seeds", "1", "--trials", "2", "--origins", "1"]
_DAYS = ["--min-train-days", "1", "--jobs", "1"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "raw", log=make_log(600))


def arguments(raw: Path, out: Path, *more: str) -> list[str]:
    study = ["compare", "debug", "--protocol", "rolling", "--raw", str(raw), "--out", str(out)]
    return [*study, *_STUDY, *_DAYS, *_FIELDS, *more]


def compare(words: list[str]) -> tuple[int, str]:
    """Exit code and stdout."""
    with redirect_stdout(io.StringIO()) as shown:
        code = main(words)
    return code, shown.getvalue()


def results(out: Path) -> Any:
    """All of study.json that is no time."""
    study = json.loads((out / "study.json").read_text(encoding="utf-8"))
    for run in study["runs"]:
        run.pop("cpu_seconds")
    return study


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "undisturbed"
    code, shown = compare(arguments(raw, out))
    assert code == 0, shown
    assert "2 towers: 4 trials (2 per tower and tuned origin) and 2 runs" in shown
    assert "core-hours" in shown
    assert "too few users" in shown
    return out


def test_a_rolling_study_leaves_what_it_should(undisturbed: Path) -> None:
    names = {"data", "forest.svg", "home", "lock", "report.html", "single_task", "study.json"}
    assert {path.name for path in undisturbed.iterdir()} == names | {"table.md"}
    study = results(undisturbed)
    assert [one["test"] for one in study["origins"]] == ["2022-05-05"]
    assert [run["status"] for run in study["runs"]] == ["done"] * 2
    for tower in study["towers"]:
        (origin,) = study["tuning"][tower]
        found = study["tuning"][tower][origin]
        assert found["trials"] == 2
        assert found["value"] >= found["untuned"]
    for run in study["runs"]:
        folder = undisturbed / run["folder"]
        assert (folder / "report.html").is_file()
        assert not (folder / "checkpoints").exists()
        # Findings can be computed again from the predictions.
        rows = Predictions.load(folder)
        assert len(rows.users_N) == next(
            one["rows"]["test"] for one in study["origins"] if one["origin"] == run["origin"]
        )
        own = study["tuning"][run["tower"]][study["origins"][0]["origin"]]["params"]
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert config["dense"]["lr"] == own["dense.lr"]
        assert config["train"]["seed"] == run["seed"]
        chosen = Config.load(folder / "config.json")
        features = resolve_features(chosen, Schema.load(chosen.data.path))
        costs = cost(chosen.model.tower, features.num_features, features.tower_tasks)
        assert study["tuning"][run["tower"]][run["origin"]]["flops"] == costs.flops
    of_click = study["summary"]["auc"]["click"]["towers"]["home"]
    (value,) = [run["test"]["click"]["auc"] for run in study["runs"] if run["tower"] == "home"]
    assert of_click["mean"] == pytest.approx(value)
    page = (undisturbed / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page


def test_the_report_is_written_again(undisturbed: Path) -> None:
    page = undisturbed / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert main(["report", str(undisturbed)]) == 0
    assert page.read_text(encoding="utf-8") == before


def test_a_damaged_run_is_trained_again_as_the_error_says(
    raw: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = undisturbed, results(undisturbed)
    first, second = (out / run["folder"] for run in before["runs"])
    path = first / "predictions.npz"
    path.write_bytes(path.read_bytes()[:100])
    (second / "outcome.json").write_text("{", encoding="utf-8")
    for folder in (second, first):
        assert main(arguments(raw, out, "--resume")) == ExitCode.USER_ERROR
        assert "remove" in capsys.readouterr().err
        shutil.rmtree(folder)
    code, shown = compare(arguments(raw, out, "--resume"))
    assert code == 0, shown
    assert results(out) == before


def test_a_moved_study_is_resumed(raw: Path, undisturbed: Path) -> None:
    before = results(undisturbed)
    moved = undisturbed.rename(undisturbed.with_name("moved"))
    code, shown = compare(arguments(raw, moved, "--resume"))
    assert code == 0, shown
    moved.rename(undisturbed)
    assert results(undisturbed) == before


def test_more_seeds_are_added_and_other_options_are_rejected(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Last of those that share the study: it is larger afterwards."""
    before = results(undisturbed)
    base = ["compare", "--protocol", "rolling", "--out", str(undisturbed), "--resume"]
    assert main([*base, "--trials", "3"]) == 2
    assert "--trials: the study has 2" in capsys.readouterr().err
    assert main([*base, "--dense.lr", "0.5"]) == 2
    assert "--overrides: the study has" in capsys.readouterr().err
    code, shown = compare([*base, "--seeds", "7,", "--jobs", "2"])
    assert code == 0, shown
    study = results(undisturbed)
    assert study["seeds"] == [0, 7]
    assert study["tuning"] == before["tuning"]
    old = [run for run in study["runs"] if run["seed"] == 0]
    assert old == before["runs"]
    assert any("There is one seed" in note for note in before["notes"])
    assert not any("There is one seed" in note for note in study["notes"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rolling_study_stopped_and_killed_continues_to_the_same_result(
    raw: Path, tmp_path: Path
) -> None:
    """Stopped in the first trial, killed in the first run after tuning, and then moved. Two
    origins: towers are tuned at the first only."""
    more = ["--origins", "2"]
    reference = tmp_path / "reference"
    code, shown = compare(arguments(raw, reference, *more))
    assert code == 0, shown
    out = tmp_path / "disturbed"
    trial = "home/*/tune/trial-0000/metrics.jsonl"
    code, output = _end_early(signal.SIGINT, trial, arguments(raw, out, *more), out)
    assert code == ExitCode.STOPPED, output
    words = arguments(raw, out, *more, "--resume")
    code, output = _end_early(signal.SIGKILL, "home/*/seed-0/metrics.jsonl", words, out)
    assert code == -signal.SIGKILL, output
    out = out.rename(tmp_path / "moved")
    code, shown = compare(arguments(raw, out, *more, "--resume"))
    assert code == 0, shown
    study = results(out)
    assert study == results(reference)
    first, second = (one["origin"] for one in study["origins"])
    assert {place for by_origin in study["tuning"].values() for place in by_origin} == {first}
    assert len([run for run in study["runs"] if run["origin"] == second]) == 2


def _end_early(number: signal.Signals, log: str, words: list[str], out: Path) -> tuple[int, str]:
    """Start the study, and send it a signal once a file `log` has a line; exit code and output."""
    with subprocess.Popen(
        [sys.executable, "-m", "launchers.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        while process.poll() is None and not any(path.stat().st_size for path in out.glob(log)):
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate()
        return process.returncode, output


@pytest.mark.slow
def test_a_table_of_ones_own_rolls_by_its_time(tmp_path: Path) -> None:
    day = pl.col("date").cast(pl.String).str.to_datetime("%Y%m%d").alias("ts")
    log = (
        make_log(600)
        .with_columns(day)
        .select("user_id", "video_id", "tab", "ts", "is_click", "is_like")
    )
    log.write_parquet(tmp_path / "log.parquet")
    config = tmp_path / "own.yaml"
    words = ["--labels", "is_click,is_like", "--user", "user_id", "--time", "ts"]
    assert main(["init", str(tmp_path / "log.parquet"), *words, "--out", str(config)]) == 0
    out = tmp_path / "study"
    base = ["compare", "--protocol", "rolling", "--config", str(config), "--out", str(out)]
    few = ["--train.max_steps", "4", "--train.batch_size", "32", "--trials", "1", "--seeds", "1"]
    code, shown = compare([*base, "--towers", "mmoe,ple", *few, "--origins", "1", *_DAYS])
    assert code == 0, shown
    study = results(out)
    assert study["subject"] == "mmoe"
    assert study["data"]["time"] == "ts"
    assert study["origins"][0]["test"] == "2022-05-05"
    assert set(study["summary"]["gauc"]) == {"is_click", "is_like"}


BAD = [
    (["--towers", "home"], "one tower has no rival"),
    (["--towers", "home,mmo"], "--towers: unknown: 'mmo'"),
    (["--origins", "9"], r"--origins 9: the data have 3 with --min-train-days 1; give at most 3"),
    (["--min-train-days", "9"], "two are needed for choosing and testing; give at most 3"),
    (["--against", "home"], "--against: with rolling origins every tower is compared"),
    (["--match", "flops", "--search", "model.tower.expert_dim=4,8"], "would change the cost of"),
    (["--search", "model.tower.kind=home,mmoe"], "model.tower.kind is set by the study"),
    (["--train.seed", "1"], "--train.seed is set by the study; use --seeds instead"),
    (["--data.path", "x"], "--data.path is set by the study"),
    (["--train.epoch", "2"], "unknown field 'train.epoch'"),
    (["--raw", "nowhere"], "nowhere: no such folder"),
    (["--resume"], "no study to resume"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_what_would_not_run_is_rejected_before_anything_is_written(
    words: list[str],
    message: str,
    raw: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "study"
    assert main(arguments(raw, out, *words)) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "homerec: error" in text]
    assert re.search(message, line), line
    assert not out.exists()


def test_rolling_options_need_the_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "debug", "--out", str(tmp_path / "x"), "--origins", "2"]
    assert main(words) == 2
    assert "--origins needs --protocol rolling" in capsys.readouterr().err
    assert main(["compare", "--out", str(tmp_path / "x")]) == 2
    assert "give a recipe, or --config" in capsys.readouterr().err
    words = ["compare", "debug", "--protocol", "rolling", "--out", str(tmp_path / "x")]
    assert main(words) == 2
    assert "prepares each origin from raw rows: give --raw" in capsys.readouterr().err


def test_dry_run_lists_the_origins_and_writes_nothing(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(raw, tmp_path / "x", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "origin 2022-05-05: trained to 2022-05-01, chosen on 2022-05-02" in shown
    assert not (tmp_path / "x").exists()
