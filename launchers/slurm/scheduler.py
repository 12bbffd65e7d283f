"""A Slurm scheduler for TorchX with signals, requeues, and job states without sacct.

TorchX's scheduler requests a heterogeneous job with one group per node, runs `srun` in the
foreground, where bash does not handle signals, and queries job states with sacct, which needs a
database that many clusters lack. Here a job is one group of equal nodes. Its script forwards
Slurm's warning to the ranks and requeues the job. Its state comes from scontrol or, when Slurm no
longer lists the job, from the exit file that the script writes.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchx.schedulers import slurm_scheduler as stock
from torchx.schedulers.api import AppDryRunInfo, DescribeAppResponse
from torchx.specs import AppDef, AppState, ReplicaStatus, Role, RoleStatus, macros, runopts

from launchers.slurm.batch_script import JOB_NUMBER, Script
from launchers.torchx.literal import literal
from pipeline.io.errors import UserError

FOLDER = "slurm-jobs"
"""Default folder of a job's script, logs and exit file (job_dir)."""

_MORE = {  # options of sbatch in addition to TorchX's
    "account": "account to charge",
    "qos": "quality of service",
    "nodelist": "nodes to use",
    "exclude": "nodes not to use",
    "reservation": "reservation to use",
    "gres": "generic resources of each node, e.g. gpu:a100:8",
    "dependency": "jobs to wait for, e.g. afterok:123",
}
_STATES: Mapping[str, AppState] = {
    **stock.SLURM_STATES,
    "COMPLETING": AppState.RUNNING,
    "CONFIGURING": AppState.PENDING,
    "REQUEUE_HOLD": AppState.PENDING,
    "SPECIAL_EXIT": AppState.FAILED,
}


@dataclass
class Request:
    """A call of sbatch."""

    script: Script
    folder: Path
    command: list[str] = field(default_factory=lambda: ["sbatch", "--parsable"])

    def __str__(self) -> str:
        return f"{' '.join(self.command)} <<SCRIPT\n{self.script}SCRIPT"


class Slurm(stock.SlurmScheduler):
    """See the module. Options: TorchX's (partition, time, ...), `_MORE`, requeue and grace."""

    def _run_opts(self) -> runopts:
        options = super()._run_opts()
        for name, meaning in _MORE.items():
            options.add(name, type_=str, default=None, help=meaning)
        options.add(
            "requeue",
            type_=bool,
            default=False,
            help="requeue when preempted, when a node fails, or at the time limit",
        )
        options.add(
            "grace",
            type_=int,
            default=120,
            help="seconds before the time limit at which the ranks are asked to save",
        )
        return options

    def build_workspace_and_update_role(
        self, role: Role, workspace: str, cfg: Mapping[str, Any]
    ) -> None:
        """Copy the current code to a new folder, from which ranks import first.

        The working directory is still that of the launch, so relative paths of data and runs work.
        """
        target = _folder(cfg) / "code"
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"code-{number}")
        target.mkdir(parents=True)
        from torchx.workspace.dir_workspace import _copy_to_dir

        _copy_to_dir(workspace, str(target))
        role.env["PYTHONPATH"] = literal(str(target))

    def _submit_dryrun(self, app: AppDef, cfg: Mapping[str, Any]) -> AppDryRunInfo[Request]:
        (role,) = app.roles
        values = macros.Values(
            img_root=role.image,
            app_id=JOB_NUMBER,
            replica_id="0",  # unused: all nodes run the same command
            rank0_env="HOMEREC_FIRST_NODE",
        )
        folder = _folder(cfg)
        names = (*stock.SBATCH_JOB_OPTIONS, *stock.SBATCH_GROUP_OPTIONS, *_MORE)
        script = Script(
            name=app.name,
            role=values.apply(role),
            folder=folder,
            options={name: str(cfg[name]) for name in sorted(names) if cfg.get(name) is not None},
            requeue=bool(cfg.get("requeue")),
            grace=int(cfg.get("grace") or 0),
        )
        return AppDryRunInfo(Request(script, folder), str)

    def schedule(self, dryrun_info: AppDryRunInfo[Request]) -> str:
        """Submit the job. Raises UserError with sbatch's message if it is rejected."""
        request = dryrun_info.request
        request.folder.mkdir(parents=True, exist_ok=True)
        job = _run_tool(request.command, stdin=str(request.script)).partition(";")[0].strip()
        stock._save_job_dir(job, str(request.folder))
        return job

    def describe(self, app_id: str) -> DescribeAppResponse | None:
        """Describe the job from scontrol or its exit file; None if neither exists."""
        found = self.job_fields(app_id)
        if found is None:
            return None
        state, nodes = found["JobState"], int(found["NumNodes"].partition("-")[0])
        app_state = _STATES.get(state, AppState.UNKNOWN)
        replicas = [
            ReplicaStatus(id=k, role="train", state=app_state, hostname="") for k in range(nodes)
        ]
        return DescribeAppResponse(
            app_id=app_id,
            roles=[Role(name="train", image="", num_replicas=nodes)],
            roles_statuses=[RoleStatus("train", replicas)],
            state=app_state,
            num_restarts=int(found["Restarts"]),
            msg=_sentence(found),
        )

    def job_fields(self, app_id: str) -> dict[str, str] | None:
        """Return Slurm's fields of the job: JobState, Reason, NodeList, Restarts, ExitCode, ..."""
        if not app_id.isdecimal():
            raise UserError(f"command line: {app_id!r}: a Slurm job number has only digits")
        try:
            shown = _run_tool(["scontrol", "show", "job", "--oneliner", app_id])
        except UserError as error:
            if "Invalid job id" not in str(error):  # unreachable controller
                raise
            return self._left_behind(app_id)
        return dict(re.findall(r"(\S+?)=(\S*)", shown))

    def _left_behind(self, app_id: str) -> dict[str, str] | None:
        folder = stock._get_job_dirs().get(app_id, FOLDER)
        path = Path(folder) / f"slurm-{app_id}.exit"
        if not path.is_file():
            return None
        return dict(
            line.split("=", 1)
            for line in path.read_text(encoding="utf-8").splitlines()
            if "=" in line
        )

    def log_iter(self, app_id: str, role_name: str, k: int = 0, *args: Any, **more: Any) -> Any:
        """Yield the log lines of node `k`. Works in any folder while Slurm lists the job."""
        if app_id not in stock._get_job_dirs() and (found := self.job_fields(app_id)):
            stock._save_job_dir(app_id, os.path.dirname(found.get("StdOut", "")) or FOLDER)
        return super().log_iter(app_id, role_name, k, *args, **more)

    def _cancel_existing(self, app_id: str) -> None:
        _run_tool(["scancel", app_id])


def create_scheduler(session_name: str, **_: object) -> Slurm:
    """Create the scheduler; called by TorchX."""
    return Slurm(session_name)


def _folder(cfg: Mapping[str, Any]) -> Path:
    folder = Path(cfg.get("job_dir") or FOLDER).resolve()
    if re.search(r"[\x00-\x1f\x7f\\]", str(folder)):  # a backslash stops substitution of %j
        raise UserError(
            f"{str(folder)!r}: the folder of a Slurm job must not contain control characters or "
            "backslashes; give another with --scheduler-args job_dir=DIR"
        )
    return folder


def _run_tool(command: list[str], stdin: str | None = None) -> str:
    """Return the output of a Slurm tool. Raises UserError with its message if it fails."""
    # As bytes: names of files are what the file system has, in whatever encoding.
    script = None if stdin is None else os.fsencode(stdin)
    done = subprocess.run(command, input=script, capture_output=True, check=False)
    if done.returncode:
        said = " ".join(os.fsdecode(done.stderr).split()) or f"exit code {done.returncode}"
        raise UserError(f"{command[0]}: {said.removeprefix(f'{command[0]}: ')}")
    return os.fsdecode(done.stdout)


def _sentence(found: Mapping[str, str]) -> str:
    """Describe the state of the job in one line."""
    parts = [found["JobState"]]
    if found.get("Reason", "None") != "None":
        parts.append(f"({found['Reason']})")
    if found.get("NodeList", "") not in ("", "(null)"):
        parts.append(f"on {found['NodeList']}")
    if "RunTime" in found:
        parts.append(f"for {found['RunTime']} of {found.get('TimeLimit', '?')}")
    if found["JobState"] not in ("PENDING", "RUNNING", "COMPLETED") and "ExitCode" in found:
        code, _, number = found["ExitCode"].partition(":")
        parts.append(
            f"exit code {code}" + (f", signal {number}" if number not in ("", "0") else "")
        )
    return " ".join(parts)
