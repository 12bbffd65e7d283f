"""The command line: quick help, recipes or values, one line for a user's mistake."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from launchers.cli.main import main, normalize_resume_auto, split_overrides
from pipeline.data.prepare.synthetic import prepare_synthetic


@pytest.mark.parametrize(
    ("words", "plain", "overrides"),
    [
        (["train", "--train.epochs", "2"], ["train"], ["--train.epochs", "2"]),
        (["train", "demo", "--a.b=1", "--resume"], ["train", "demo", "--resume"], ["--a.b=1"]),
        (["train", "--a.b", "x,y", "demo"], ["train", "demo"], ["--a.b", "x,y"]),
        (["train", "--out", "runs/a.b"], ["train", "--out", "runs/a.b"], []),
        (["train", "--a.b"], ["train"], ["--a.b"]),
    ],
)
def test_fields_are_distinguished_from_the_recipe(
    words: list[str], plain: list[str], overrides: list[str]
) -> None:
    assert split_overrides(words) == (plain, overrides)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["train", "--resume", "auto"], ["train", "--resume-auto"]),
        (
            ["train", "demo", "--resume=auto", "--out", "x"],
            ["train", "demo", "--resume-auto", "--out", "x"],
        ),
        (["train", "--resume", "demo"], ["train", "--resume", "demo"]),
        (["train", "--out", "auto", "--resume"], ["train", "--out", "auto", "--resume"]),
    ],
)
def test_resume_auto_is_one_word_and_a_recipe_after_resume_none(
    words: list[str], read: list[str]
) -> None:
    assert normalize_resume_auto(words) == read


def test_resume_auto_begins_resumes_and_a_requeued_start_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_synthetic(tmp_path / "data", rows=2_000, seed=3)
    monkeypatch.chdir(tmp_path)
    words = ["train", "debug", "--data.path", "data", "--train.batch_size", "256", "--out", "run"]
    words += ["--train.epochs", "2"]
    assert main([*words, "--resume", "auto", "--train.max_steps", "2"]) == 0
    assert "steps 0 to" in capsys.readouterr().out
    assert main([*words, "--resume", "auto", "--train.max_steps", "4"]) == 0
    assert "resumed after step 2" in capsys.readouterr().out
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main([*words, "--overwrite", "--train.max_steps", "6"]) == 0
    assert "resumed after step 4" in capsys.readouterr().out
    # A job whose first start has saved nothing has all to do still.
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert main([*words, "--overwrite", "--train.max_steps", "2"]) == 0
    assert "steps 0 to" in capsys.readouterr().out
    assert main([*words, "--overwrite", "--train.max_steps", "4"]) == 0
    assert "resumed after step 2" in capsys.readouterr().out
    monkeypatch.delenv("SLURM_RESTART_COUNT")
    assert main([*words, "--overwrite", "--train.max_steps", "2"]) == 0
    assert "steps 0 to" in capsys.readouterr().out


def test_a_name_that_the_terminal_cannot_show_ends_no_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tables.yaml").write_text("tables: [{name: 视频, rows: 9, dim: 4}]", encoding="utf-8")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="latin-1"))
    assert main(["plan", "tables.yaml", "--cluster", "cpu-1x1", "--batch-size", "8"]) == 0
    sys.stdout.flush()
    assert rb"\u89c6\u9891" in shown.getvalue()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from launchers.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'polars', 'pydantic', 'cyclopts', 'numpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "prepare" in done.stdout


@pytest.mark.parametrize(
    "command", ["prepare", "train", "evaluate", "compare", "launch", "tune", "plan", "report"]
)
def test_every_subcommand_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"homerec {command}" in shown
    assert ("--train.batch_size" in shown) == (command == "train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "dmeo"], "unknown recipe 'dmeo'; did you mean 'demo'?"),
        (["train", "--train.epoch", "2"], "unknown field 'train.epoch'; did you mean 'epochs'?"),
        (["evaluate", "--checkpoint", "nowhere"], "nowhere: no checkpoint here"),
        (["report", "nowhere"], "nowhere: no metrics.jsonl"),
        (["prepare", "kuairand", "--raw", "nowhere", "--out", "x"], "nowhere: no such folder"),
        (["train", "--resume", "--overwrite"], "--resume and --overwrite contradict"),
        ([], "no command"),
        (["evaluat"], "unknown command 'evaluat'; did you mean 'evaluate'?"),
        (["evaluate"], "--checkpoint"),
        (["evaluate", "--checkpoint", "x", "--splitt", "val"], "Did you mean --split?"),
        (["evaluate", "--checkpoint", "x", "--split", "tset"], 'Did you mean "test"?'),
        (["checkpoint"], "known: ls, verify, show, prune"),
        (["checkpoint", "verfy", "x"], 'Did you mean "verify"?'),
        (["prepare", "kuai"], "kuairand"),
        (["plan", "--cluster", "h100"], "SOURCE"),
        (["compare", "demo", "--out", "x", "--seeds", "2147483647"], "give at most 10000"),
        (
            ["prepare", "synthetic", "--out", "x", "--rows", "9223372036854775808"],
            "rows: 9223372036854775808 must be at most 10000000000",
        ),
        # Bytes of a command line that are not text: Python gives them as lone surrogates.
        (["report", "runs/\udce9"], "'runs/\\udce9': not valid utf-8, the encoding of this"),
        (["compare", "--recipe", "demo", "--out", "x"], "'homerec compare RECIPE ...'"),
        (["launch", "--dryrun", "--", "train"], "Did you mean --dry-run?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "homerec: error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"homerec {version('homerec')}\n"


@pytest.mark.parametrize("words", [["train"], ["plan"], ["plan", "show"], ["status"]])
def test_help_is_listed_among_the_parameters(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    _, _, parameters = capsys.readouterr().out.partition("─ Parameters ─")
    assert "--help" in parameters


@pytest.mark.parametrize("command", ["launch", "compare", "tune"])
def test_help_shows_each_default_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "[default: None]" not in text
    assert "[default: False]" not in text
    assert not re.search(r"\(default: [^()]*\)\.? \[default", text)
