"""The codes that docs/reference/exit_codes.md promises, of commands that a signal ends early."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.io.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]
_DATA = ["--data.path", "data"]


def test_the_table_of_the_documents_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "reference" / "exit_codes.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(ExitCode)


@pytest.mark.parametrize(
    ("at", "number", "words"),
    [
        ("cyclopts", "SIGINT", ["train", "debug", *_DATA]),
        ("pydantic", "SIGTERM", ["train", "debug", *_DATA]),
        ("torch", "SIGUSR1", ["train", "debug", *_DATA]),
        ("numpy", "SIGINT", ["train", "debug", *_DATA]),  # torch imports it, and does without
        ("pipeline.evaluate", "SIGINT", ["evaluate", "--checkpoint", "run"]),
        ("polars", "SIGTERM", ["prepare", "synthetic", "--out", "data"]),
        ("launchers.experiments", "SIGINT", ["compare", "debug", "--out", "x"]),
        ("launchers.experiments", "SIGTERM", ["tune", "debug", "--search", "dense.lr=1:2"]),
        ("embeddings.planner", "SIGINT", ["plan", "demo", "--cluster", "h100"]),
        ("torchx.runner", "SIGTERM", ["launch", "--", "train", "debug"]),
    ],
)
def test_a_signal_in_the_first_second_is_one_line_and_its_code(
    at: str, number: str, words: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.launchers.cli.interrupted", at, number, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stderr == f"homerec: stopped by {number}\n"
    assert done.returncode == ExitCode.STOPPED


def test_what_was_half_done_is_undone(tmp_path: Path) -> None:
    """`prepare` gets the signal once it has made a folder in its hidden one."""
    program = (
        "import os, pathlib, signal, sys\n"
        "from launchers.cli.main import main\n"
        "real = pathlib.Path.mkdir\n"
        "def mkdir(path, *args, **kwargs):\n"
        "    real(path, *args, **kwargs)\n"
        "    if path.name == 'train':\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "pathlib.Path.mkdir = mkdir\n"
        "sys.argv[1:] = ['prepare', 'synthetic', '--out', 'here/data', '--rows', '2000']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == ExitCode.STOPPED, done.stderr
    assert done.stderr.endswith("homerec: stopped by SIGTERM\n")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "here").iterdir()) == []
