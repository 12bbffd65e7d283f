import os
import subprocess
import sys
from pathlib import Path

import pytest
from torchx.specs.builders import materialize_appdef
from torchx.specs.finder import get_component

from launchers.torchx import components

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = f"{ROOT / 'launchers' / 'torchx' / 'components.py'}:train"


def torchx(*words: str) -> str:
    """What `torchx` prints on stdout, in an activated environment: ranks run PATH's python."""
    folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [str(folder / "torchx"), *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_machine_needs_no_shell_and_no_fixed_port() -> None:
    (role,) = components.train("kuairand", "--train.epochs", "2", nproc=2).roles
    assert role.entrypoint == "python"
    assert role.num_replicas == 1
    assert role.args[-5:] == ["launchers.cli", "train", "kuairand", "--train.epochs", "2"]
    assert role.args[role.args.index("--nproc_per_node") + 1] == "2"
    assert role.args[role.args.index("--rdzv_endpoint") + 1] == "localhost:0"


def test_the_rendezvous_of_several_machines_is_on_the_first() -> None:
    (role,) = components.train("a b", nnodes=3, nproc=8, gpu=8, memMB=9, rdzv_port=12).roles
    assert role.num_replicas == 3
    assert (role.resource.gpu, role.resource.memMB) == (8, 9)
    assert role.entrypoint == "bash"
    assert "${rank0_env}" in role.args[1]
    assert "$${HOMEREC_RDZV_PORT:=12}" in role.args[1]
    assert "--rdzv_endpoint" not in role.args
    assert role.args[-1] == "a b"  # a word stays a word, whatever is in it


def test_ranks_of_an_elastic_job_know_that_others_may_be_fewer() -> None:
    (role,) = components.train("demo", nnodes=3, min_nnodes=2, rdzv_endpoint="h:1").roles
    assert role.env["HOMEREC_NNODES"] == "2:3"
    assert (role.num_replicas, role.min_replicas) == (3, 2)
    assert role.args[role.args.index("--nnodes") + 1] == "2:3"
    (role,) = components.train("demo", nnodes=3).roles
    assert "HOMEREC_NNODES" not in role.env
    assert role.args[role.args.index("--nnodes") + 1] == "3"


def test_ranks_share_the_cores_of_their_machine() -> None:
    def threads(cpu: int, nproc: int) -> int:
        (role,) = components.train(cpu=cpu, nproc=nproc).roles
        return int(role.env["OMP_NUM_THREADS"])

    assert threads(cpu=8, nproc=2) == 4
    assert threads(cpu=2, nproc=4) == 1
    assert threads(cpu=0, nproc=1) == os.cpu_count()


def test_environment_asked_for_wins_over_ours() -> None:
    asked = {"OMP_NUM_THREADS": "7", "MORE": "x"}
    (role,) = components.train(cpu=8, env=asked).roles
    assert asked.items() <= role.env.items()
    assert asked == {"OMP_NUM_THREADS": "7", "MORE": "x"}


def test_equal_arguments_make_equal_jobs() -> None:
    assert components.train("demo", nproc=2) == components.train("demo", nproc=2)


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_torchx_reads_the_same_job_from_the_file(dashes: list[str]) -> None:
    words = ["kuairand", "--train.epochs", "2"]
    function = get_component(COMPONENT).fn
    read = materialize_appdef(function, ["--nproc", "2", "--env", "A=b", *dashes, *words])
    assert read == components.train(*words, nproc=2, env={"A": "b"})


def test_torchx_shows_a_help_for_every_argument() -> None:
    shown = torchx("run", COMPONENT, "--help")
    assert "Trains on nnodes x nproc ranks" in shown
    assert "(default: 29500)" in shown
    assert components.train.__doc__
    printed = " ".join(shown.split())
    for line in components.train.__doc__.partition("Args:")[2].strip().splitlines():
        assert line.partition(": ")[2] in printed


def test_slurm_gets_one_group_of_tasks_a_machine() -> None:
    words = ["--nnodes", "2", "--nproc", "4", "--", "kuairand"]
    script = torchx("run", "-s", "slurm", "--dryrun", COMPONENT, *words)
    assert script.count("--nproc_per_node 4") == 2
    assert "#SBATCH hetjob" in script
    assert 'PET_RDZV_ENDPOINT="${SLURM_JOB_NODELIST_HET_GROUP_0:=localhost}:' in script
    assert ":${HOMEREC_RDZV_PORT:=29500}" in script
    assert "-m launchers.cli train kuairand" in script


def test_torchx_runs_it_here() -> None:
    words = ["--nproc", "2", "-m", "tests.launchers.cli.job", "--env", f"PYTHONPATH={ROOT}"]
    torchx("run", "-s", "local_cwd", COMPONENT, *words, "--", "report")


def test_folder_default_is_this_component() -> None:
    shown = torchx("run", "-s", "slurm", "--dryrun", "--", "--nproc", "2", "--", "demo")
    assert "-m launchers.cli train demo" in shown
