"""homerec tune with real runs: failed, pruned, finished; killed and resumed; rejected at once."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launchers.cli.main import main
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.io.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]
# Only the dense half learns: what a trial is worth is what dense.lr makes of it.
_FIXED = ["--train.max_steps", "300", "--train.eval_every", "25", "--train.epochs", "20"]
_FIXED += ["--sparse.lr", "1e-9", "--schedule.warmup_steps", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=8_000, seed=3)
    return folder


@pytest.fixture
def _as_ranks_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that start anywhere import this tree, and share the cores."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@contextmanager
def tune(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "launchers.cli", "tune", *words, "--out", "search"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        yield process


def wait_for(path: Path, words: str, process: subprocess.Popen[str]) -> None:
    while not (path.exists() and words in path.read_text(encoding="utf-8")):
        assert process.poll() is None, process.communicate()
        threading.Event().wait(0.02)


def assert_nobody_is_left(search: Path) -> None:
    """Trials hold their logs until they have ended, whoever started them."""
    for path in search.glob("logs/*"):
        with path.open(encoding="utf-8") as log:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def found(search: Path) -> Any:
    return json.loads((search / "tune.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(900)  # five jobs, one after the other: long on a busy machine
@pytest.mark.usefixtures("_as_ranks_see_it")
def test_killed_interrupted_and_resumed(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three trials, which seed 3 draws in this order: a good one, one that fails, a poor one."""
    monkeypatch.chdir(tmp_path)
    search = Path("search")  # as `tune` names it
    log = search / "logs" / "trial-0000.log"
    fields = ["--data.path", str(data), *_FIXED]
    words = ["debug", "--search", "dense.lr=1e-2,1e-9,1e30", "--seed", "3", "--startup", "1"]

    with tune(tmp_path, *words, *fields, "--trials", "3") as process:
        wait_for(search / "tune.json", '"search"', process)
        assert main(["tune", "--out", str(search), "--resume"]) == 2  # not while this is at work
        assert "a search is running there" in capsys.readouterr().err
        wait_for(search / "trial-0000" / "metrics.jsonl", '"kind": "train"', process)
        process.kill()

    with tune(tmp_path, "--resume") as process:
        wait_for(log, "resumed after step", process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == ExitCode.STOPPED, err
    assert "resume with: homerec tune --out search --resume" in out
    assert_nobody_is_left(search)
    assert [trial["state"] for trial in found(search)["trials"]] == ["running"]

    assert main(["tune", "--out", str(search), "--resume"]) == 0
    assert_nobody_is_left(search)
    good, bad, poor = found(search)["trials"]
    assert (good["state"], good["params"]) == ("complete", {"dense.lr": "1e-2"})
    assert [rows for rows, _ in good["evaluations"]] == [256 * step for step in range(25, 301, 25)]
    assert good["value"] == max(value for _, value in good["evaluations"])
    assert (bad["state"], bad["params"]) == ("failed", {"dense.lr": "1e30"})
    assert "not finite" in bad["error"]
    assert (poor["state"], poor["params"]) == ("pruned", {"dense.lr": "1e-9"})
    assert len(poor["evaluations"]) < 12
    assert list((search / "trial-0002" / "checkpoints").iterdir())  # it saved before it ended

    assert found(search)["best"] == 0
    assert resolve(None, search / "best.yaml", []) == Config.load(search / "trial-0000/config.json")
    page = (search / "report.html").read_text(encoding="utf-8")
    assert "trial 0" in page
    assert "src=" not in page.partition("<script>")[0]


@pytest.mark.usefixtures("_as_ranks_see_it")
def test_a_search_where_all_fail_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["--out", str(tmp_path / "search")]
    words = ["debug", "--search", "dense.lr=1e29:1e30", "--trials", "1", *_FIXED]
    assert main(["tune", *search, *words, "--data.path", str(data)]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert "search: all 1 trials failed; first: trial-0000: step 2: " in line
    assert "trial 0 failed dense.lr=" in shown.out
    assert not (tmp_path / "search" / "best.yaml").exists()
    page = tmp_path / "search" / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert main(["report", str(tmp_path / "search")]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text(encoding="utf-8") == before
    assert main(["tune", *search, "--resume", "--search", "dense.lr=1:2"]) == 2
    assert "was started with --search dense.lr=1e29:1e30" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--search", "dense.lr=2:1"], "low 2.0 is above high 1.0"),
        (["--search", "dense.lr=1:2", "--dense.lr", "1"], "dense.lr is searched and has a value"),
        ([], "nothing to search"),
        (["--search", "dense.lr=1:2", "--jobs", "0"], "Must be >= 1"),
        (["--search", "dense.lr=1:2", "--scheduler", "slurm"], "--scheduler slurm"),
        (["--search", "loss.task_weights.clik=1:2"], "did you mean 'click'?"),
        (["--search", "dense.lr=1:2", "--train.select", "clik/auc"], "train.select: 'clik'"),
        (["--search", "dense.lr=1:2", "--data.path", "nowhere"], "nowhere"),
        (["--search", "dense.lr=1:2", "--train.epoch", "2"], "unknown field 'train.epoch'"),
        (["--resume"], "no search to resume"),
    ],
)
def test_bad_input_starts_nothing(
    words: list[str],
    reason: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = words if "--data.path" in words else [*words, "--data.path", str(data)]
    assert main(["tune", "debug", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert list(tmp_path.iterdir()) == []
