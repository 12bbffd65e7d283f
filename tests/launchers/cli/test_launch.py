import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launchers.cli.command import call
from launchers.cli.main import open_command
from launchers.local import processes
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.tracking.progress_line import PROGRESS_LINE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `homerec launch WORDS` on the job of these tests, in an empty folder 'here'."""
    (tmp_path / "here").mkdir()
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / "alive")

    def popen(*words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.launchers.cli.launch_job", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=tmp_path / "here",
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "logs"), **env},
        )

    return popen


def launch(*words: str) -> int:
    """As the command runs it, but that errors are raised."""
    return call(open_command("launch"), words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no command to launch; write it after --"),
        (["--nproc", "2", "--"], "no command to launch"),
        (["--", "prepare", "kuairand"], "cannot launch 'prepare'; known: train, evaluate"),
        (["--", "trian"], "did you mean 'train'"),
        (["--name", "a/b", "--", "train"], "--name 'a/b'"),
        (["--nproc", "1025", "--", "train"], "--nproc 1025: give at most 1024"),
        (["--nproc", "9223372036854775808", "--", "train"], "Must be <= 2147483647"),
        (["--nnodes", "1:65537", "--", "train"], "--nnodes '1:65537': give at most 65536"),
        (["--nnodes", "9" * 5000, "--", "train"], "must be N or MIN:MAX, with N >= 1"),
        (["--scheduler", "slrm", "--", "train"], "did you mean 'slurm'"),
        (["--scheduler", "slurm", "--scheduler-args", "partitin=x", "--", "train"], "'partition'"),
        (["--scheduler", "slurm", "--scheduler-args", "x", "--", "train"], "name=value"),
    ],
)
def test_a_command_line_that_cannot_start_is_a_user_error(words: list[str], reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        launch(*words)


@pytest.mark.parametrize("option", ["--nproc", "--nnodes"])
@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_counts_are_whole_and_positive(option: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{option}.*{value}|{value}.*{option}"):
        launch(f"{option}={value}", "--", "train")


def test_options_before_the_dashes_are_ours_and_after_them_the_ranks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert launch("--nproc", "3", "--dry-run", "--", "train", "demo", "--nproc", "9") == 0
    shown = capsys.readouterr().out
    assert "'--nproc_per_node',\n" in shown or "--nproc_per_node 3" in shown
    assert "train demo --nproc 9" in " ".join(shown.replace("'", "").replace(",", "").split())


def test_dry_run_shows_the_request_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scheduler", "slurm", "--scheduler-args", "partition=P", "--gpu", "2"]
    options += ["--env", "A=$$ ${app_id}"]
    words = ["--split", "test", "--checkpoint", "it's $$ ${app_id} {} 100%"]
    assert launch(*options, "--dry-run", "--", "evaluate", *words) == 0
    shown = capsys.readouterr().out
    assert shlex.join(words) in shown
    assert "export A='$$ ${app_id}'\n" in shown
    assert "--partition=P" in shown
    assert "--gpus-per-node=2" in shown
    assert "-m launchers.cli evaluate --split test" in shown


def test_the_command_starts_without_torch_and_torchx() -> None:
    code = "import sys, launchers.cli.launch; print({'torch', 'torchx'} & set(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert shown.stdout.strip() == "set()"


def test_a_job_that_ends_well(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    words = ["--x", "a b", "$$", "${app_id}", "${local_rank}", "$(id)", "{} 100% %j", "'é\"\\"]
    logs = tmp_path / "logs" / "$$ ${app_id} 'é'"
    logs.mkdir()
    job = start(
        *("--nproc", "2", "--", "train", "report", *words), OMP_NUM_THREADS="3", TMPDIR=str(logs)
    )
    out, err = job.communicate()
    assert job.returncode == 0, err
    said, threads, *progress = out.splitlines()
    assert said == f"{['train', 'report', *words]} in here"
    assert threads == "3"
    assert len(progress) == 2
    assert all(PROGRESS_LINE.fullmatch(line) for line in progress)
    # Nothing but what the ranks wrote: no chatter of TorchX or torchrun.
    assert sorted(err.splitlines()) == ["[rank1]: warning of rank 1", "warning of rank 0"]
    assert not list(logs.iterdir())


def test_two_nodes_on_this_machine(start: Callable[..., subprocess.Popen[str]]) -> None:
    job = start("--nnodes", "2", "--nproc", "1", "--", "train", "report")
    out, err = job.communicate()
    assert job.returncode == 0, err
    assert out.splitlines()[0] == "['train', 'report'] in here"
    assert sorted(err.splitlines()) == ["[rank1]: warning of rank 1", "warning of rank 0"]


def test_a_users_error_is_one_line(start: Callable[..., subprocess.Popen[str]]) -> None:
    job = start("--", "train", "user-error")
    out, err = job.communicate()
    assert job.returncode == 2
    assert (out, err) == ("", "homerec: error: data.path 'x': no such folder\n")


@pytest.mark.parametrize("options", [["--max-restarts", "3"], ["--nnodes", "1:2"]])
def test_a_users_error_is_not_tried_again(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, options: list[str]
) -> None:
    """Not by torchrun's restarts, and not by those of an elastic job, which are many."""
    job = start(*options, "--nproc", "1", "--", "train", "user-error", TRIES=str(tmp_path))
    out, err = job.communicate()
    assert job.returncode == 2, err
    assert (out, err) == ("", "homerec: error: data.path 'x': no such folder\n")
    tries = (tmp_path / "tries").read_text(encoding="utf-8").splitlines()
    assert sorted(set(tries)) == sorted(tries)  # each rank once


def test_another_error_is_tried_as_often_as_said(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "ready")  # else rank 0 may be stopped before its line
    job = start("--max-restarts", "1", "--", "train", "raise", TRIES=str(tmp_path))
    _, err = job.communicate()
    assert job.returncode == 1, err
    tries = (tmp_path / "tries").read_text(encoding="utf-8").splitlines()
    assert sorted(tries) == ["rank 0", "rank 0", "rank 1", "rank 1"]


@pytest.mark.parametrize(
    ("what", "said", "last"),
    [
        ("raise", "rank 1 ended with exit code 1", "RuntimeError: the reason"),
        ("die", "rank 1 was killed by SIGKILL", None),
    ],
)
def test_the_rank_that_failed_first_has_the_last_word(
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    what: str,
    said: str,
    last: str | None,
) -> None:
    job = start("--", "train", what)
    _, err = job.communicate()
    assert job.returncode == 1
    (kept,) = (tmp_path / "logs").iterdir()
    head, *rest = err.splitlines()
    assert head == f"homerec: {said}; logs of all ranks are kept in {kept}"
    assert rest[-1:] == ([last] if last else [])
    assert len(list(kept.rglob("attempt_0/*/stderr.log"))) == 2


def test_a_rank_that_missed_another_says_so_last(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    job = start("--nproc", "2", "--", "train", "lost")
    _, err = job.communicate()
    assert job.returncode == 75, err
    *_, before, last = err.splitlines()
    assert before.startswith("homerec: rank 0 lost another rank; logs of all ranks are kept in ")
    assert Path(before.rpartition(" ")[2]).is_dir()
    assert last == "homerec: lost: step 7: rank 1 on n1 does not answer"


def alive(tmp_path: Path) -> int:
    """A pipe that both ranks hold open, once both are there."""
    pipe = os.open(tmp_path / "alive", os.O_RDONLY)
    assert os.read(pipe, 1) + os.read(pipe, 1) == b"xx"
    return pipe


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_lets_the_ranks_save(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    job = start("--", "train", "save", ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    job.send_signal(number)
    out, err = job.communicate()
    assert os.read(pipe, 1) == b""  # nobody holds it: all ranks are gone
    assert job.returncode == ExitCode.STOPPED
    assert sorted(out.splitlines()) == ["[rank1]: rank 1 saved", "rank 0 saved"]
    assert err.startswith("homerec: stopping")
    assert not list((tmp_path / "logs").iterdir())


def test_a_rank_that_a_signal_stopped_has_not_failed(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    job = start("--", "train", "stopped")
    _, err = job.communicate()
    assert job.returncode == ExitCode.STOPPED, err


def test_a_second_signal_kills_ranks_that_do_not_listen(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = start("--", "train", "deaf", ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    job.send_signal(signal.SIGINT)
    assert job.stderr
    assert "press Ctrl-C again" in job.stderr.readline()
    job.send_signal(signal.SIGINT)
    job.communicate()
    assert os.read(pipe, 1) == b""
    assert job.returncode == ExitCode.STOPPED


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux's setpriv")
def test_a_killed_launcher_takes_its_ranks_along(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = start("--", "train", "save", ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    job.kill()
    assert os.read(pipe, 1) == b""
    job.communicate()


def test_a_killed_agent_leaves_no_rank_behind(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = start("--", "train", "deaf", ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    (agent,) = processes.children(job.pid)
    os.kill(agent, signal.SIGKILL)
    assert os.read(pipe, 1) == b""
    _, err = job.communicate()
    assert job.returncode == 1
    assert "torchrun failed" in err


def test_a_signal_to_the_agent_lets_the_ranks_save(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = start("--", "train", "save", ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    (agent,) = processes.children(job.pid)
    os.kill(agent, signal.SIGTERM)
    out, err = job.communicate()
    assert os.read(pipe, 1) == b""
    assert job.returncode == ExitCode.STOPPED, err
    assert sorted(out.splitlines()) == ["[rank1]: rank 1 saved", "rank 0 saved"]


def test_ranks_that_lost_a_machine_have_saved_but_the_job_has_failed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    words = ["--nnodes", "2", "--nproc", "1", "--", "train", "save"]
    job = start(*words, ALIVE=str(tmp_path / "alive"))
    pipe = alive(tmp_path)
    # The second agent: the first one often keeps the store, and without that no agent continues.
    os.kill(processes.children(job.pid)[-1], signal.SIGKILL)
    out, err = job.communicate()
    assert os.read(pipe, 1) == b""
    assert job.returncode == 1
    assert re.search(r"rank \d saved", out)
    # Where the machines met on the one that was killed, the other agent itself has failed, too.
    lost = "the agent (torchrun) of a machine was killed; the other ranks have saved"
    assert lost in err or "torchrun failed" in err
