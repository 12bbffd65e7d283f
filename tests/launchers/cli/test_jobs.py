"""`status`, `logs` and `cancel` of a job that Slurm has forgotten, or where it cannot be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchers.cli.main import main

HANDLE = "slurm://homerec/41"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a launch, after the job; Slurm's scontrol knows it no more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tmp_path / "scontrol"
    tool.write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n",
        encoding="utf-8",
    )
    tool.chmod(0o755)
    folder = tmp_path / "slurm-jobs"
    folder.mkdir()
    (folder / "slurm-41.exit").write_text(
        "JobState=FAILED\nExitCode=75:0\nRestarts=2\nNumNodes=2\nNodeList=n[0-1]\n",
        encoding="utf-8",
    )
    for node in (0, 1):
        (folder / f"slurm-41-train-{node}.out").write_text(f"out of {node}\n", encoding="utf-8")
        (folder / f"slurm-41-train-{node}.err").write_text(f"err of {node}\n", encoding="utf-8")
    return tmp_path


def test_its_exit_file_tells_how_it_ended(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", HANDLE]) == 0
    said = "FAILED on n[0-1] exit code 75, restarts: 2"
    assert capsys.readouterr().out == f"{HANDLE}: {said}\n"


def test_its_logs_are_still_there_by_machine(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", HANDLE]) == 0
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == ["[node0] out of 0", "[node1] out of 1"]
    assert sorted(shown.err.splitlines()) == ["[node0] err of 0", "[node1] err of 1"]
    assert main(["logs", HANDLE, "--node", "1"]) == 0
    assert capsys.readouterr().out == "[node1] out of 1\n"
    assert main(["logs", HANDLE, "--follow"]) == 1  # it did not end well


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logs", HANDLE, "--node", "2"], "--node 2: the job has machines 0 to 1"),
        (["cancel", HANDLE], "already ended (FAILED); nothing to cancel"),
        (
            ["status", "slurm://homerec/42"],
            "slurm has no job '42', and there is no exit file here",
        ),
        (["status", "slurm://homerec/x"], "'x': a Slurm job number has only digits"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_controller_that_does_not_answer_is_no_forgotten_job(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "scontrol").write_text(
        "#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n", encoding="utf-8"
    )
    assert main(["status", HANDLE]) == 2
    assert capsys.readouterr().err == (
        "homerec: error: scontrol: Unable to contact slurm controller\n"
    )


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            "JobState=RUNNING Reason=None NodeList=n[0-1] RunTime=00:01 TimeLimit=1:00 Restarts=1",
            "RUNNING on n[0-1] for 00:01 of 1:00, restarts: 1",
        ),
        (
            "JobState=PENDING Reason=Resources NodeList=(null) RunTime=00:00 TimeLimit=1:00",
            "PENDING (Resources) for 00:00 of 1:00",
        ),
        (
            "JobState=CANCELLED Reason=None NodeList= ExitCode=0:15",
            "CANCELLED exit code 0, signal 15",
        ),
    ],
)
def test_slurms_words_are_one_line(
    shown: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shown if "Restarts" in shown else f"{shown} Restarts=0"
    (here / "scontrol").write_text(
        f"#!/bin/sh\necho 'JobId=41 NumNodes=2 {words}'\n", encoding="utf-8"
    )
    assert main(["status", HANDLE]) == 0
    assert capsys.readouterr().out == f"{HANDLE}: {said}\n"


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_without_slurms_programs_it_says_where_to_be(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "scontrol").unlink()
    assert main([command, HANDLE]) == 2
    assert "needs 'scontrol', which is not installed here; launch where" in capsys.readouterr().err
