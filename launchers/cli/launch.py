"""`homerec launch`: start the ranks of a run through TorchX, here or on a cluster."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pprint import pformat
from typing import Annotated, Any

from launchers.cli.command import FLAT, Natural, Positive
from launchers.cli.jobs import show_logs
from launchers.local.free_port import free_port
from launchers.torchx.schedulers import open_runner, scheduler_options, service_errors, tools_of
from pipeline.io.errors import UserError, nearest

RANK_MODULE = "launchers.cli"
"""The Python module that each rank runs."""
_SUBCOMMANDS = ["train", "evaluate"]
_ELASTIC_RESTARTS = 100  # losing a machine uses one restart, regaining a machine none
_MAX_NPROC, _MAX_NNODES = 1024, 2**16
_WITH_MOUNTS = ["local_docker", "kubernetes", "kubernetes_mcad", "aws_batch", "gcp_batch"]
_EXAMPLE = "homerec launch --nproc 2 -- train kuairand --train.epochs 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """Scheduler and resources of a job."""

    scheduler: str = "local_cwd"
    """TorchX scheduler, such as local_cwd (this machine) or slurm."""
    scheduler_args: str = ""
    """options of the scheduler, such as partition=P,time=60 (docs/guides/clusters.md)."""
    nnodes: str = "1"
    """number of machines, N or MIN:MAX; with MIN:MAX the job continues when machines are lost, down
    to MIN, and uses them again when they return."""
    nproc: Positive = 2
    """ranks on each machine."""
    cpu: Natural = 0
    """CPUs of each machine; 0: the scheduler's default."""
    gpu: Natural = 0
    """GPUs of each machine."""
    mem_mb: Natural = 0
    """memory of each machine, MB; 0: the scheduler's default."""
    resource: str | None = None
    """named resource of TorchX, instead of --cpu, --gpu and --mem-mb."""
    env: tuple[str, ...] = ()
    """environment variable of every rank, NAME=VALUE; repeatable."""
    mount: tuple[str, ...] = ()
    """folder or volume for data or runs, type=T,src=S,dst=D with type bind, volume or device;
    repeatable."""
    workspace: str | None = None
    """folder whose current code to run: patched into the image, or copied (slurm)."""
    rdzv_endpoint: str | None = None
    """HOST:PORT printed by 'homerec rendezvous' (default: a store on the first machine)."""
    max_restarts: Natural | None = None
    """maximum number of restarts of the ranks after a failure (default: 0; with MIN:MAX 100)."""
    max_retries: Natural = 0
    """maximum number of restarts of a failed job by the scheduler."""
    requeue: bool = False
    """slurm: requeue the job when it is preempted, when a node fails or at the time limit."""
    follow: bool = False
    """show the logs until the job has ended."""
    image: str = "homerec"
    """container image, if the scheduler uses one."""
    name: str = "homerec"
    """name of the job."""
    dry_run: bool = False
    """print the request to the scheduler without submitting it."""

    @property
    def min_nnodes(self) -> int:
        """Minimum number of machines of an elastic job; 0: the job needs all of them."""
        low, colon, _ = self.nnodes.partition(":")
        return int(low) if colon else 0

    @property
    def max_nnodes(self) -> int:
        """Maximum number of machines of the job."""
        return int(self.nnodes.rpartition(":")[2])


def launch(*command: str, options: Annotated[LaunchOptions, FLAT] = LaunchOptions()) -> int:
    """Start the ranks of a run through TorchX. Locally, waits and returns their exit code;
    elsewhere, submits the job.

    Args:
        command: command of each rank, after --: homerec launch --nproc 2 -- train kuairand
            --train.epochs 2
    """
    words = list(command)
    _check(options, words)
    with open_runner() as runner:
        cfg = scheduler_options(runner, options.scheduler, options.scheduler_args)
        if options.requeue:
            if options.scheduler != "slurm":
                raise UserError(
                    f"command line: --requeue is for slurm only; with {options.scheduler} use "
                    "--max-retries to restart a failed job"
                )
            cfg["requeue"] = True
        here = options.scheduler == "local_cwd"
        elastic = options.min_nnodes > 0
        if here and elastic and not options.rdzv_endpoint:
            options = replace(options, rdzv_endpoint=f"localhost:{free_port()}")
        app = _app(options, words)
        if here and not options.dry_run:
            from launchers.local.local_job import run_here

            restarts = options.max_retries if elastic else None
            return run_here(runner, app, cfg, nproc=options.nproc, restarts=restarts)
        return _submit(runner, app, options, cfg)


def _submit(runner: Any, app: Any, options: LaunchOptions, cfg: dict[str, Any]) -> int:
    """Submit the job and print its handle; with --dry-run only print the request."""
    scheduler: str = options.scheduler
    # A dry run writes nothing: it does not patch an image or copy code.
    workspace = None if options.dry_run else options.workspace
    with tools_of(scheduler), service_errors(scheduler):
        request = runner.dryrun(app, scheduler, cfg, workspace=workspace)
        if options.dry_run:
            sys.stdout.write(f"{pformat(asdict(app))}\n\n{request}\n")
            return 0
        handle = runner.schedule(request)
    sys.stdout.write(
        f"submitted {handle}\nstatus: homerec status {handle}\n"
        f"logs:   homerec logs --follow {handle}\ncancel: homerec cancel {handle}\n"
    )
    sys.stdout.flush()
    return show_logs(runner, handle) if options.follow else 0


def _check(options: LaunchOptions, words: list[str]) -> None:
    if not words:
        raise UserError(f"command line: no command to launch; write it after --, as in: {_EXAMPLE}")
    if words[0] not in _SUBCOMMANDS:
        raise UserError(
            f"command line: cannot launch {words[0]!r}; {nearest(words[0], _SUBCOMMANDS)}"
        )
    _check_machines(options.nnodes)
    if options.nproc > _MAX_NPROC:
        raise UserError(f"command line: --nproc {options.nproc}: give at most {_MAX_NPROC}")
    name = options.name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):  # names a folder, a job, a pod
        raise UserError(
            f"command line: --name {name!r}: use letters, digits and '-', starting with a letter"
        )
    if options.min_nnodes and (words[0] != "train" or "--overwrite" in words):
        raise UserError(
            "command line: --nnodes MIN:MAX needs 'train' without --overwrite, because a machine "
            "that returns would overwrite the run again; remove the old run first"
        )
    if options.workspace and options.scheduler == "local_cwd":
        raise UserError(
            "command line: --workspace: a job on this machine runs the current code; omit it"
        )
    if options.mount and options.scheduler not in _WITH_MOUNTS:
        raise UserError(
            f"command line: --mount: {options.scheduler} does not support mounts; these do: "
            f"{', '.join(_WITH_MOUNTS)}"
        )
    if options.scheduler == "aws_batch" and not (options.mem_mb or options.resource):
        raise UserError(
            "command line: --scheduler aws_batch: AWS Batch needs the memory of a machine; "
            "give --mem-mb N or --resource NAME"
        )


def _check_machines(text: str) -> None:
    counts = text.split(":")
    if len(counts) > 2 or not all(re.fullmatch("0*[1-9][0-9]{0,9}", n) for n in counts):
        raise UserError(f"command line: --nnodes {text!r} must be N or MIN:MAX, with N >= 1")
    if max(map(int, counts)) > _MAX_NNODES:
        raise UserError(f"command line: --nnodes {text!r}: give at most {_MAX_NNODES}")
    if int(counts[0]) > int(counts[-1]):
        raise UserError(
            f"command line: --nnodes {text!r}: MIN is above MAX; write {counts[1]}:{counts[0]}"
        )


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UserError(f"command line: --env {pair!r} is not NAME=VALUE")
        found[name] = value
    return found


def _mounts(texts: Sequence[str]) -> list[str]:
    """Return the mounts as TorchX's flat list of options. Raises UserError for an invalid one."""
    from torchx.specs import parse_mounts

    for text in texts:
        try:
            parse_mounts(text.split(","))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"command line: --mount {text!r}: {' '.join(map(str, error.args))}; write it as "
                "type=bind,src=/host,dst=/job[,readonly] or type=volume,src=NAME,dst=/job"
            ) from error
    return [option for text in texts for option in text.split(",")]


def _app(options: LaunchOptions, words: list[str]) -> Any:
    """Return the AppDef of this command line."""
    from launchers.local.local_job import GRACE_S
    from launchers.torchx.components import train
    from launchers.torchx.literal import literal

    env = {name: literal(value) for name, value in _variables(options.env).items()}
    cpu = options.cpu
    fewest, most = options.min_nnodes, options.max_nnodes
    restarts = options.max_restarts
    if restarts is None:
        restarts = _ELASTIC_RESTARTS if fewest else 0
    rdzv_port = 29500
    if options.scheduler == "local_cwd":
        # All "machines" are this one: they share its cores, and no fixed port is known to be free.
        cpu = cpu or max(1, (os.cpu_count() or 1) // most)
        rdzv_port = free_port()
        if "OMP_NUM_THREADS" in os.environ:
            env.setdefault("OMP_NUM_THREADS", literal(os.environ["OMP_NUM_THREADS"]))
    if options.resource:
        _check_resource(options.resource)
    if fewest and "--resume" not in words:
        words = [*words, "--resume", "auto"]  # a returning machine does not know the restart count
    return train(
        *map(literal, words[1:]),
        subcommand=words[0],
        nnodes=most,
        min_nnodes=fewest,
        rdzv_endpoint=options.rdzv_endpoint and literal(options.rdzv_endpoint),
        nproc=options.nproc,
        cpu=cpu,
        gpu=options.gpu,
        memMB=options.mem_mb,
        h=options.resource,
        max_restarts=restarts,
        max_retries=options.max_retries,
        grace=GRACE_S,
        name=options.name,
        image=options.image,
        env=env,
        mounts=_mounts(options.mount),
        rdzv_port=rdzv_port,
        m=RANK_MODULE,
    )


def _check_resource(name: str) -> None:
    from torchx.specs import named_resources

    try:
        named_resources[name]
    except KeyError as error:
        raise UserError(f"command line: --resource {name!r}: {error.args[0]}") from error
