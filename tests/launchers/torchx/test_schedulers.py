"""What each scheduler of TorchX is asked for, or in one line why it cannot be."""

from __future__ import annotations

import importlib.util
import re
import signal

import pytest

from launchers.cli.main import main
from launchers.torchx.schedulers import open_runner, read_handle
from pipeline.io.errors import UserError
from pipeline.io.interrupts import NUMBERS

LAUNCH = ["launch", "--dry-run", "--nnodes", "2", "--nproc", "4", "--cpu", "8", "--mem-mb", "9000"]
RANKS = ["--", "train", "demo", "--train.epochs", "2"]
# What each needs to be told, and the package without which TorchX cannot make a request.
SCHEDULERS = [
    ("slurm", "partition=P", None),
    ("lsf", "", None),
    ("local_cwd", "", None),
    ("local_docker", "", "docker"),
    ("aws_batch", "queue=Q", None),
    ("kubernetes", "queue=Q", "kubernetes"),
    ("kubernetes_mcad", "", "kubernetes"),
    ("gcp_batch", "project=P", "google.cloud.batch_v1"),
    ("ray", "", "ray"),
]


def installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # its parent
        return False


@pytest.mark.parametrize(("scheduler", "args", "package"), SCHEDULERS)
def test_each_scheduler_gets_the_same_command_or_says_what_it_lacks(
    scheduler: str, args: str, package: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*LAUNCH, "--scheduler", scheduler, "--scheduler-args", args, *RANKS])
    printed = capsys.readouterr()
    if package is None or installed(package):
        assert code == 0, printed.err
        _, _, request = printed.out.partition("\n\n")  # after the AppDef
        for words in (
            "launchers.elastic.agent",
            "--nproc_per_node",
            "launchers.cli",
            "--train.epochs",
        ):
            assert words in request
    else:
        assert code == 2
        assert printed.err.count("\n") == 1
        assert re.search(rf"--scheduler {scheduler} needs the package '\w+(\.\w+)*'", printed.err)


def test_all_that_kubernetes_lacks_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LAUNCH, "--scheduler", "kubernetes", *RANKS]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "needs --scheduler-args queue=... (Volcano queue to schedule job in)" in error
    assert ("and the package 'kubernetes' (pip install 'torchx[kubernetes]')" in error) != (
        installed("kubernetes")
    )


def test_variables_mounts_and_kinds_of_machine_are_in_the_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["launch", "--dry-run", "--scheduler", "local_docker", "--env", "A=b, c=d"]
    words += ["--mount", "type=bind,src=/data,dst=/job/data,readonly", "--env", "NCCL_DEBUG=INFO"]
    if installed("docker"):
        assert main([*words, *RANKS]) == 0
        shown = capsys.readouterr().out
        assert "'A': 'b, c=d'" in shown
        assert re.search(r"src_path='/data',\s*dst_path='/job/data',\s*read_only=True", shown) or (
            "'src_path': '/data'" in shown and "'read_only': True" in shown
        )
    resource = ["--scheduler", "slurm", "--resource", "aws_p4d.24xlarge"]
    assert main(["launch", "--dry-run", *resource, "--nproc", "8", *RANKS]) == 0
    shown = capsys.readouterr().out
    assert "#SBATCH --gpus-per-node=8\n" in shown
    assert "#SBATCH --cpus-per-task=96\n" in shown
    assert "export OMP_NUM_THREADS=12\n" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resource", "aws_p4d.24xlarg"], "Did you mean `aws_p4d.24xlarge`?"),
        (["--mount", "type=bind,src=/a,dst=/b"], "local_cwd does not support mounts; these do: lo"),
        (["--scheduler", "local_docker", "--mount", "src=/a"], "--mount 'src=/a'"),
        (["--scheduler", "aws_batch", "--scheduler-args", "queue=Q"], "give --mem-mb N"),
        (["--requeue"], "--requeue is for slurm only"),
        (["--scheduler-args", "log_dir=a\nb"], "'log_dir=a\\nb' contains a control character"),
        (["--workspace", "."], "a job on this machine runs the current code"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "--dry-run", *words, *RANKS]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("homerec: error: command line: ")
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("text", ["A", "=b", "1A=b", "A-B=c"])
def test_a_variable_is_a_name_and_a_value(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "--env", text, *RANKS]) == 2
    assert f"{text!r} is not NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        ("123", "is not a job handle; write SCHEDULER://homerec/APP"),
        ("slurm://homerec/", "is not a job handle"),
        ("slrm://homerec/1", "did you mean 'slurm'?"),
        ("local_cwd://homerec/a", "shown by the 'launch' that started it"),
    ],
)
def test_a_handle_names_a_scheduler_and_a_job(handle: str, said: str) -> None:
    with open_runner() as runner:
        with pytest.raises(UserError, match=re.escape(said)):
            read_handle(runner, handle)
        assert read_handle(runner, "slurm://homerec/12") == ("slurm", "12")
        assert read_handle(runner, "kubernetes://x/ns:app-1") == ("kubernetes", "ns:app-1")


def test_a_scheduler_leaves_signals_to_the_command() -> None:
    """TorchX's own would make of each an exception, which ends in a traceback."""
    before = [signal.getsignal(number) for number in NUMBERS]
    with open_runner() as runner:
        runner.scheduler_run_opts("local_cwd")
        assert [signal.getsignal(number) for number in NUMBERS] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()).isdisjoint(NUMBERS)
