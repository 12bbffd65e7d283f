"""`homerec launch --scheduler slurm`, from sbatch to the last checkpoint, on a real Slurm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint import saved_steps
from tests.integration.test_train import tensors
from tests.slurm.cluster import until
from tests.slurm.conftest import ROOT, Login

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

STEPS = 200
# 25 steps an epoch.
TRAIN = ["train", "debug", "--data.path", "data", "--train.batch_size", "256"]
TRAIN += ["--train.epochs", "8", "--train.max_steps", str(STEPS), "--train.eval_every", "100"]
TRAIN += ["--model.tower.dropout", "0.1"]
ENDLESS = [*TRAIN, "--train.epochs", "100000", "--train.max_steps", "0"]


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss/total"] for line in lines if line["kind"] == "train"]


def reached(run: Path, step: int) -> bool:
    """Whether training has logged `step`."""
    log = run / "metrics.jsonl"
    return log.exists() and f'"step": {step},' in log.read_text()


def different(left: Path, right: Path, scratch: Path) -> list[str]:
    """Names of tensors, optimizers' included, that the last checkpoints of two runs differ in."""
    name = f"step-{STEPS:08d}"
    first = tensors(left / "checkpoints" / name, scratch)
    second = tensors(right / "checkpoints" / name, scratch)
    assert first.keys() == second.keys()
    return [key for key in first if not torch.equal(first[key], second[key])]


@pytest.fixture(scope="module")
def limited(login: Login) -> str:
    """A job of a minute's limit, of which Slurm gives no warning; others run beside it."""
    # One rank: it keeps one core busy all the while.
    args = "partition=debug,time=1,grace=0"
    return login.launch(
        "--nnodes", "1", "--scheduler-args", args, "--", *ENDLESS, "--out", "runs/limited"
    )


@pytest.fixture(scope="module")
def undisturbed(login: Login, limited: str) -> Path:
    """A run that nothing happens to."""
    done = login.homerec(
        *("launch", "--scheduler", "slurm", "--nnodes", "2", "--nproc", "1", "--cpu", "1"),
        *("--follow", "--env", "GREETING=a, b", "--", *TRAIN, "--out", "runs/undisturbed"),
    )
    assert done.returncode == 0, done.stderr
    assert "[node0] [rank0]:best checkpoint: step" in done.stdout
    return login.folder / "runs" / "undisturbed"


def test_two_nodes_train_as_one_process_does(login: Login, undisturbed: Path) -> None:
    words = [*TRAIN, "--model.tower.dropout", "0", "--train.max_steps", "20"]
    assert login.homerec(*words, "--out", "runs/alone").returncode == 0
    handle = login.launch("--", *words, "--out", "runs/pair")
    assert login.ended(handle).startswith("COMPLETED on hn[0-1]")
    alone, pair = losses(login.folder / "runs" / "alone"), losses(login.folder / "runs" / "pair")
    assert len(pair) == 20
    assert pair == pytest.approx(alone, abs=1e-5)


def test_a_cancelled_job_saves_and_goes_on_bit_equal(
    login: Login, undisturbed: Path, tmp_path: Path
) -> None:
    run = login.folder / "runs" / "cancelled"
    words = ["--", *TRAIN, "--out", str(run), "--resume", "auto"]
    handle = login.launch(*words)
    until(lambda: reached(run, 30), "step 30")
    assert "save" in login.homerec("cancel", handle).stdout
    assert login.ended(handle).startswith("CANCELLED")
    assert "stopped by a signal at step" in login.log(handle)
    (stopped,) = saved_steps(run / "checkpoints")[-1:]
    assert 30 <= stopped < STEPS
    again = login.launch(*words)
    assert login.ended(again).startswith("COMPLETED")
    assert f"resumed after step {stopped}" in login.log(again)
    assert different(undisturbed, run, tmp_path) == []
    done = login.homerec("cancel", again)
    assert done.returncode == 2
    assert "has ended already (SUCCEEDED)" in done.stderr


def test_a_warned_job_goes_back_into_the_queue_and_on_bit_equal(
    login: Login, undisturbed: Path, tmp_path: Path
) -> None:
    run = login.folder / "runs" / "requeued"
    handle = login.launch("--requeue", "--", *TRAIN, "--out", str(run), "--overwrite")
    number = handle.rpartition("/")[2]
    until(lambda: reached(run, 30), "step 30")
    login.ask("scancel", "--signal=USR1", "--batch", number)  # what --signal=B:USR1 does
    until(lambda: "restarts: 1" in login.state(handle), "a requeue")
    stopped = saved_steps(run / "checkpoints")[-1]
    assert stopped < STEPS
    login.ask("scontrol", "update", f"JobId={number}", "StartTime=now")  # Slurm waits two minutes
    assert login.ended(handle).startswith("COMPLETED")
    assert f"resumed after step {stopped}" in login.log(handle)  # and --overwrite did nothing
    assert different(undisturbed, run, tmp_path) == []


def test_a_users_mistake_is_not_tried_again_and_the_code_is_the_workspaces(login: Login) -> None:
    workspace = login.folder / "code"
    for package in ("embeddings", "models", "pipeline", "launchers"):
        shutil.copytree(ROOT / package, workspace / package)
    (workspace / "launchers" / "__init__.py").write_text('print("this is the copy")\n')
    handle = login.launch(
        *("--max-retries", "2", "--workspace", str(workspace), "--"),
        *("train", "debug", "--data.path", "nowhere"),
    )
    shutil.rmtree(workspace)  # the job has its own
    assert login.ended(handle) == "FAILED (NonZeroExitCode) on hn[0-1] for 00:00:00 exit code 2"
    shown = login.homerec("logs", handle, "--node", "1")
    assert "this is the copy" in shown.stdout
    assert "nowhere" in shown.stderr


def test_a_job_that_slurm_refuses_is_one_line(login: Login) -> None:
    for args, nodes, said in [
        ("partition=nope", "2", "invalid partition"),
        ("time=soon", "2", "Invalid --time"),
        ("partition=debug", "3", "Node count"),
    ]:
        words = ["--scheduler", "slurm", "--scheduler-args", args, "--nnodes", nodes]
        done = login.homerec("launch", *words, "--", "train", "debug")
        assert done.returncode == 2
        assert done.stderr.startswith("homerec: error: sbatch: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_job_that_slurm_has_forgotten_is_known_by_its_exit_file(login: Login) -> None:
    handle = login.launch("--", "train", "debug", "--data.path", "nowhere")
    login.ended(handle)
    number = handle.rpartition("/")[2]
    forgotten = f"{number}000"
    folder = login.folder / "slurm-jobs"
    shutil.copy(folder / f"slurm-{number}.exit", folder / f"slurm-{forgotten}.exit")
    assert login.state(f"slurm://homerec/{forgotten}") == "FAILED on hn[0-1] exit code 2"
    done = login.homerec("status", "slurm://homerec/987654")
    assert done.returncode == 2
    assert "knows no job '987654'" in done.stderr


def test_a_job_at_its_time_limit_has_saved(login: Login, limited: str) -> None:
    assert login.ended(limited, within=240).startswith("TIMEOUT on hn0 for 00:01:")
    run = login.folder / "runs" / "limited"
    assert saved_steps(run / "checkpoints")[-1] % 100  # of the moment of its end, not an epoch's
    assert not list((run / "checkpoints").glob(".*"))
