"""`homerec launch --scheduler slurm`, from sbatch to the last checkpoint, on a real Slurm."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.layout import saved_steps
from tests.integration.training.runs import tensors
from tests.slurm.box import until
from tests.slurm.conftest import ROOT, Login, number

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

STEPS = 300
# 25 steps an epoch.
TRAIN = ["train", "debug", "--data.path", "data", "--train.batch_size", "256"]
TRAIN += ["--train.epochs", "20", "--train.max_steps", str(STEPS), "--train.eval_every", "150"]
TRAIN += ["--model.tower.dropout", "0.1"]


def reached(run: Path, step: int) -> bool:
    """Whether training has logged `step`."""
    log = run / "metrics.jsonl"
    return log.exists() and f'"step": {step},' in log.read_text(encoding="utf-8")


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["loss/total"] for line in lines if line["kind"] == "train"]


def different(left: Path, right: Path, scratch: Path) -> list[str]:
    """Names of tensors, optimizers' included, that the last checkpoints of two runs differ in."""
    name = f"step-{STEPS:08d}"
    first = tensors(left / "checkpoints" / name, scratch)
    second = tensors(right / "checkpoints" / name, scratch)
    assert first.keys() == second.keys()
    return [key for key in first if not torch.equal(first[key], second[key])]


@pytest.fixture(scope="module")
def undisturbed(login: Login) -> Path:
    """A run that nothing happens to."""
    done = login.homerec(
        *("launch", "--scheduler", "slurm", "--nnodes", "2", "--nproc", "1", "--cpu", "1"),
        *("--follow", "--env", "GREETING=a, b", "--", *TRAIN, "--out", "runs/undisturbed"),
    )
    assert done.returncode == 0, done.stderr
    (handle,) = re.findall(r"^submitted (\S+)$", done.stdout, re.MULTILINE)
    assert login.state(handle).startswith("COMPLETED on hn[0-1]")
    # Ranks are numbered as machines arrive: the first may be on either.
    assert re.search(r"^\[node[01]\] \[rank0\]:best checkpoint: step", done.stdout, re.MULTILINE)
    return login.folder / "runs" / "undisturbed"


def test_two_nodes_train_as_one_process_does(login: Login) -> None:
    # Every step holds all rows: which rank has which makes no difference then.
    words = ["train", "debug", "--data.path", "data", "--train.batch_size", "6400"]
    words += ["--train.epochs", "10", "--train.max_steps", "0", "--dense.lr", "0.01"]
    assert login.homerec(*words, "--out", "runs/alone").returncode == 0
    handle = login.launch("--", *words, "--out", "runs/pair")
    assert login.ended(handle).startswith("COMPLETED on hn[0-1]")
    alone, pair = losses(login.folder / "runs" / "alone"), losses(login.folder / "runs" / "pair")
    assert len(pair) == 10
    assert pair[-1] < pair[0] - 0.1
    assert pair == pytest.approx(alone, rel=1e-5)


def test_a_job_cancelled_warned_preempted_and_robbed_of_a_node_resumes_each_time_bit_equal(
    login: Login, undisturbed: Path, tmp_path: Path
) -> None:
    run = login.folder / "runs" / "disturbed"
    handle = login.launch("--", *TRAIN, "--out", str(run), "--resume", "auto")
    until(lambda: reached(run, 30), "step 30")
    assert "save" in login.homerec("cancel", handle).stdout
    assert login.ended(handle).startswith("CANCELLED")
    assert "stopped by a signal at step" in login.log(handle)
    cancelled = saved_steps(run / "checkpoints")[-1]
    assert 30 <= cancelled < STEPS
    done = login.homerec("cancel", handle)
    assert done.returncode == 2
    assert "already ended (CANCELLED)" in done.stderr

    handle = login.launch("--requeue", "--", *TRAIN, "--out", str(run), "--resume", "auto")
    until(lambda: reached(run, cancelled + 20), "20 steps more")
    login.ask("scancel", "--signal=USR1", "--batch", number(handle))  # what --signal=B:USR1 does
    login.again(handle, 1)
    warned = saved_steps(run / "checkpoints")[-1]
    assert cancelled + 20 <= warned < STEPS

    until(lambda: reached(run, warned + 20), "20 steps more")
    urgent = login.ask(
        "sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o/dev/null", "--wrap=true"
    )
    login.again(handle, 2)
    assert login.ended(f"slurm://homerec/{urgent.strip()}").startswith("COMPLETED")
    preempted = saved_steps(run / "checkpoints")[-1]
    assert warned + 20 <= preempted < STEPS

    until(lambda: reached(run, preempted + 20), "20 steps more")
    login.cluster.power_off("hn1")
    login.again(handle, 3, then=lambda: login.cluster.power_on("hn1"))

    assert login.ended(handle).startswith("COMPLETED")
    log = login.log(handle)
    for step in (cancelled, warned, preempted):
        assert f"resumed after step {step}" in log
    assert different(undisturbed, run, tmp_path) == []


def test_a_users_mistake_is_not_tried_again_by_the_workspaces_code_and_is_remembered(
    login: Login,
) -> None:
    workspace = login.folder / "code"
    for package in ("embeddings", "models", "pipeline", "launchers"):
        shutil.copytree(ROOT / package, workspace / package)
    (workspace / "launchers" / "__init__.py").write_text(
        'print("this is the copy")\n', encoding="utf-8"
    )
    odd = "a 'b' \"c\" #1 100% $$ ${app_id} %j é"  # to a shell, TorchX, torchrun or Slurm
    handle = login.launch(
        *("--max-retries", "2", "--workspace", str(workspace), "--env", f"GREETING={odd}"),
        *("--scheduler-args", f"job_dir={odd},comment={odd}", "--"),
        *("train", "debug", "--data.path", f"nowhere {odd}"),
    )
    shutil.rmtree(workspace)  # the job has its own
    assert login.ended(handle).endswith("exit code 2")
    shown = login.homerec("logs", handle, "--node", "1")
    assert "this is the copy" in shown.stdout
    assert f"nowhere {odd}: not a prepared folder" in shown.stderr
    assert f"Comment={odd} " in login.ask("scontrol", "show", "job", "-o", number(handle))

    # Once Slurm has forgotten the job its exit file tells.
    forgotten = f"{number(handle)}000"
    folder = login.folder / "slurm-jobs"
    folder.mkdir(exist_ok=True)
    exit_file = login.folder / odd / f"slurm-{number(handle)}.exit"
    shutil.copy(exit_file, folder / f"slurm-{forgotten}.exit")
    assert login.state(f"slurm://homerec/{forgotten}") == "FAILED on hn[0-1] exit code 2"
    done = login.homerec("status", "slurm://homerec/987654")
    assert done.returncode == 2
    assert "has no job '987654'" in done.stderr


def test_a_job_that_slurm_rejects_is_one_line(login: Login) -> None:
    for args, said in [
        ("partition=nope", "invalid partition"),
        ("time=soon", "Invalid --time"),
    ]:
        words = ["--scheduler", "slurm", "--scheduler-args", args, "--nnodes", "2"]
        done = login.homerec("launch", *words, "--", "train", "debug")
        assert done.returncode == 2
        assert done.stderr.startswith("homerec: error: sbatch: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
