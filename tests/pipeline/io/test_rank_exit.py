"""What a rank writes of its end is read back, by ours and by torchrun's reader."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from pipeline.io.errors import RankLost, UserError
from pipeline.io.rank_exit import RankExit, exit_of, read_exit, write_exit

VARIABLE = "TORCHELASTIC_ERROR_FILE"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 (now it has a traceback)
        return caught


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x: bad"), 2, "homerec: error: x: bad"),
        (OSError(errno.ENOSPC, "full", "/x"), 2, "homerec: error: /x: full; fix that"),
        (OSError(errno.ENOSPC, "full"), 2, "homerec: error: full; fix that"),
        (RankLost("gone"), 75, "homerec: lost: gone"),
        (ValueError("a\nb"), 1, "homerec: ValueError: a"),
    ],
)
def test_an_exception_comes_back_as_the_end_it_was(
    error: Exception, code: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "error.json"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("RANK", "3")
    end = exit_of(raised(error))
    assert read_exit(path) is None
    write_exit(end)
    assert read_exit(path) == end
    assert (end.code, end.line, end.rank) == (code, line, 3)
    assert bool(end.traceback) == (code == 1)


def test_torchruns_reader_understands_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "error.json"
    monkeypatch.setenv(VARIABLE, str(path))
    write_exit(RankExit(code=2, message="x: bad", time=5.75))
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(path))
    assert failure.timestamp == 5
    assert "homerec: error: x: bad" in str(ChildFailedError("homerec", {0: failure}))
    assert [file.name for file in tmp_path.iterdir()] == ["error.json"]


def test_a_file_of_another_program_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    for message in ("<NONE>", {"message": "x", "extraInfo": {"timestamp": "1"}}):
        path.write_text(json.dumps({"message": message}), encoding="utf-8")
        assert read_exit(path) is None


def test_a_file_that_cannot_be_written_is_a_line_and_no_new_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "error.json"))
    write_exit(exit_of(UserError("x")))
    assert "error.json: cannot be written: " in capsys.readouterr().err


def test_nobody_asks_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    write_exit(exit_of(UserError("x")))
