"""The batch script, run by bash on this machine: `srun` starts the command here, as a node would.

What a real Slurm makes of it is in tests/slurm.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchx.specs import Resource, Role

from launchers.slurm.batch_script import JOB_NUMBER, Script

# Slurm's own words to a job, and the least of its programs: one node, this one.
_SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n0", "SLURM_JOB_NUM_NODES": "1"}
_SRUN = '#!/bin/bash\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
_SCONTROL = """\
#!/bin/bash
case "$1 $2" in
"show hostnames") echo n0 ;;
"show node") echo "NodeName=n0 NodeAddr=10.0.0.5 State=IDLE" ;;
"show job") echo "JobId=7 StartTime=2026-01-01T00:00:09 X=1 PreemptTime=$PREEMPTED Y=2" ;;
"requeue 7") : > requeued ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("srun", _SRUN), ("scontrol", _SCONTROL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def script(folder: Path, *command: str, **more: object) -> Script:
    resource = Resource(cpu=2, gpu=0, memMB=0)
    role = Role("train", "", entrypoint=command[0], args=list(command[1:]), resource=resource)
    for name in ("env", "max_retries", "num_replicas"):
        setattr(role, name, more.pop(name, getattr(role, name)))
    fields = {"options": {}, "requeue": False, "grace": 60, **more}
    return Script("job", role, folder, **fields)  # type: ignore[arg-type]


def start(folder: Path, made: Script, **env: str) -> subprocess.Popen[str]:
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-c", str(made)],
        cwd=folder,
        env={**_SLURM, "PATH": path, "PREEMPTED": "None", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def left(folder: Path) -> dict[str, str]:
    lines = (folder / "slurm-7.exit").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


_WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=st.lists(_WORDS, max_size=4), value=_WORDS)
def test_any_words_and_variables_reach_the_ranks_as_they_are(
    folder: Path, words: list[str], value: str
) -> None:
    code = "import os, sys; print(ascii((sys.argv[1:], os.environ['VALUE'])))"
    made = script(folder, sys.executable, "-c", code, *words, JOB_NUMBER, env={"VALUE": value})
    job = start(folder, made)
    out, err = job.communicate()
    assert job.returncode == 0, err
    assert out.strip() == ascii(([*words, "7"], value))


def test_a_node_knows_the_rendezvous_endpoint(folder: Path) -> None:
    shown = "echo $HOMEREC_FIRST_NODE $HOMEREC_RDZV_PORT"
    job = start(folder, script(folder, "bash", "-c", shown), SLURM_JOB_ID="123456")
    assert job.communicate()[0] == "10.0.0.5 23456\n"


@pytest.mark.parametrize(
    ("code", "more", "env", "state", "again"),
    [
        (0, {"max_retries": 2, "requeue": True}, {}, "COMPLETED", False),
        (1, {}, {}, "FAILED", False),
        (1, {"max_retries": 2}, {}, "FAILED", True),
        (75, {"max_retries": 2}, {"SLURM_RESTART_COUNT": "1"}, "FAILED", True),
        (1, {"max_retries": 2}, {"SLURM_RESTART_COUNT": "2"}, "FAILED", False),
        (2, {"max_retries": 2, "requeue": True}, {}, "FAILED", False),  # a user's mistake
        (1, {"requeue": True}, {}, "FAILED", False),
        (143, {"requeue": True}, {"PREEMPTED": "2026-01-01T00:01:00"}, "PREEMPTED", True),
        (143, {}, {"PREEMPTED": "2026-01-01T00:01:00"}, "PREEMPTED", False),
        (1, {"requeue": True}, {"PREEMPTED": "2026-01-01T00:00:01"}, "FAILED", False),  # before
    ],
)
def test_what_an_exit_code_means_for_the_job(
    code: int, more: dict[str, object], env: dict[str, str], state: str, again: bool, folder: Path
) -> None:
    job = start(folder, script(folder, "bash", "-c", f"exit {code}", **more), **env)
    job.communicate()
    assert job.returncode == code
    state_file = left(folder)
    assert state_file["JobState"] == state
    assert state_file["ExitCode"] == f"{code}:0"
    assert state_file["Restarts"] == env.get("SLURM_RESTART_COUNT", "0")
    assert (folder / "requeued").exists() == again


@pytest.mark.parametrize(
    ("number", "state", "again"),
    [(signal.SIGUSR1, "FAILED", True), (signal.SIGTERM, "CANCELLED", False)],
)
def test_a_signal_to_the_script_is_a_warning_to_the_ranks(
    number: signal.Signals, state: str, again: bool, folder: Path
) -> None:
    rank = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "print('ready', flush=True); signal.sigwait({signal.SIGUSR1})\n"
        "print('saved'); sys.exit(143)"
    )
    job = start(folder, script(folder, sys.executable, "-c", rank, requeue=True))
    assert job.stdout
    assert job.stdout.readline() == "ready\n"
    job.send_signal(number)
    out, err = job.communicate()
    assert job.returncode == 143
    assert out == "saved\n"
    assert "the ranks save a checkpoint first" in err
    assert left(folder)["JobState"] == state
    assert (folder / "requeued").exists() == again


def as_sbatch_reads(line: str) -> list[str]:
    """The words of a line of the header, as Slurm's get_argument splits it."""
    words, letters = [""], iter(line)
    quote = ""
    for letter in letters:
        if letter.isspace() and not quote:  # even after a backslash
            words.append("")
        elif letter == "\\":
            words[-1] += next(letters)
        elif letter in ("'", '"') and quote in ("", letter):
            quote = "" if quote else letter
        elif letter == "#" and not quote:
            break
        else:
            words[-1] += letter
    assert not quote
    return [word for word in words if word]


@given(value=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_an_option_is_one_word_of_the_header_whatever_is_in_it(value: str) -> None:
    value = f"{value} '\"#\\$(id)"
    shown = str(script(Path("/a b 100%"), "true", options={"comment": value}))
    (line,) = (line for line in shown.split("\n") if "--comment=" in line)
    assert as_sbatch_reads(line.removeprefix("#SBATCH")) == [f"--comment={value}"]
    assert '#SBATCH --output="/a b 100%%/slurm-%j.log"\n' in shown


def test_the_header_asks_for_equal_nodes_and_a_warning(tmp_path: Path) -> None:
    made = script(
        tmp_path, "true", num_replicas=3, grace=90, options={"partition": "P", "gres": "gpu:8"}
    )
    made.role.resource = Resource(cpu=4, gpu=8, memMB=100)
    asked = re.findall(r"^#SBATCH --(.*)$", str(made), re.MULTILINE)
    for option in ("nodes=3", "ntasks-per-node=1", "cpus-per-task=4", "mem=100", "partition=P"):
        assert option in asked
    assert "gres=gpu:8" in asked
    assert not any(option.startswith("gpus-per-node") for option in asked)  # gres says it
    assert "signal=B:USR1@90" in asked
    assert "no-requeue" in asked
    assert "requeue" in re.findall(
        r"^#SBATCH --(.*)$", str(script(tmp_path, "x", max_retries=1)), 8
    )
