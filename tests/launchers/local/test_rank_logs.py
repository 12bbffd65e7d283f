import io
import sys
from pathlib import Path

import pytest

from launchers.local import rank_logs as console
from launchers.local.rank_logs import RankConsole, RankLog
from pipeline.io.errors import UserError
from pipeline.io.rank_exit import exit_of, write_exit
from pipeline.tracking.progress_line import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def bar(step: int) -> str:
    return progress_line("train", step, 4, samples_per_s=9.0, loss=0.5, eta_s=1)


def test_progress_is_drawn_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    shown = RankConsole()
    for line in [bar(1), bar(2), "a word", bar(3), bar(4), "the end"]:
        shown.write(0, line, terminal)
    # What stays on the screen: every line but the bars that were drawn over.
    left = [line.rpartition("\x1b[2K")[2] for line in terminal.getvalue().split("\n")]
    assert left == ["a word", bar(4), "the end", ""]


def test_a_bar_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    RankConsole().write(0, bar(1), terminal)
    assert terminal.getvalue() == bar(1)[:29]


def test_progress_is_plain_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    shown = RankConsole()
    for line in [bar(1), bar(2)]:
        shown.write(0, line, sys.stdout)
    assert capsys.readouterr().out == f"{bar(1)}\n{bar(2)}\n"


def test_other_ranks_say_only_what_rank_0_did_not(capsys: pytest.CaptureFixture[str]) -> None:
    shown = RankConsole()
    for rank in (0, 1, 2):
        shown.write(rank, "a warning", sys.stderr)
        shown.write(rank, bar(1), sys.stderr)
    shown.write(1, "of my own", sys.stderr)
    assert capsys.readouterr().err == f"a warning\n{bar(1)}\n[rank1]: of my own\n"


@pytest.fixture
def log(tmp_path: Path) -> RankLog:
    (tmp_path / "stdout.log").touch()
    (tmp_path / "stderr.log").touch()
    return RankLog(1, tmp_path)


def test_what_ends_a_rank_is_kept_for_the_end(
    log: RankLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["hello", "[rank1]: Traceback (most recent call last):", "[rank1]: ValueError: x"]
    (tmp_path / "stderr.log").write_text("\n".join([*lines, ""]), encoding="utf-8")
    log.show(RankConsole())
    assert capsys.readouterr().err == "[rank1]: hello\n"
    assert log.traceback == ["Traceback (most recent call last):", "ValueError: x"]


def test_a_traceback_that_ends_nothing_is_shown(
    log: RankLog,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "_HOLD_S", -1.0)
    (tmp_path / "stderr.log").write_text(
        "Traceback (most recent call last):\nValueError: x\n", encoding="utf-8"
    )
    log.show(RankConsole())
    assert "[rank1]: ValueError: x" in capsys.readouterr().err


def test_the_line_that_a_rank_ends_with_waits_for_the_end(
    log: RankLog,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "stderr.log").write_text(
        "homerec: error: of old\n[rank1]: homerec: error: x\n", encoding="utf-8"
    )
    assert log.exit is None
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    write_exit(exit_of(UserError("x")))
    log.show(RankConsole())
    assert capsys.readouterr().err == "[rank1]: homerec: error: of old\n"
    assert log.exit
    assert log.exit.line == "homerec: error: x"
