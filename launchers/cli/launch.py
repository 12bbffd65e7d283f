"""`homerec launch`: ranks of a run started through TorchX, here or on a cluster."""

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
_ELASTIC_RESTARTS = 100  # each loss of a machine costs one, and the return of one none
_MAX_NPROC, _MAX_NNODES = 1024, 2**16
_WITH_MOUNTS = ["local_docker", "kubernetes", "kubernetes_mcad", "aws_batch", "gcp_batch"]
_EXAMPLE = "homerec launch --nproc 2 -- train kuairand --train.epochs 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """Where and on what a job runs."""

    scheduler: str = "local_cwd"
    """TorchX scheduler, such as local_cwd (this machine) or slurm."""
    scheduler_args: str = ""
    """options of the scheduler, such as partition=P,time=60 (docs/guides/clusters.md)."""
    nnodes: str = "1"
    """number of machines, N or MIN:MAX; MIN:MAX: the job continues with those that are left, down
    to MIN, and with more once they are back."""
    nproc: Positive = 2
    """ranks on each machine."""
    cpu: Natural = 0
    """CPUs of each machine; 0: the scheduler's default."""
    gpu: Natural = 0
    """GPUs of each machine."""
    mem_mb: Natural = 0
    """memory of each machine, MB; 0: the scheduler's default."""
    resource: str | None = None
    """named resource of TorchX, in place of --cpu, --gpu and --mem-mb."""
    env: tuple[str, ...] = ()
    """environment variable of every rank, NAME=VALUE; repeatable."""
    mount: tuple[str, ...] = ()
    """folder or volume for data or runs, type=T,src=S,dst=D with type bind, volume or device;
    repeatable."""
    workspace: str | None = None
    """folder whose code to run as it is now: patched into the image, or copied (slurm)."""
    rdzv_endpoint: str | None = None
    """HOST:PORT of the rendezvous store that 'homerec rendezvous' printed (default: on the first
    machine)."""
    max_restarts: Natural | None = None
    """number of restarts of the ranks after one failed (default: 0; with MIN:MAX 100)."""
    max_retries: Natural = 0
    """number of times the scheduler starts a failed job again."""
    requeue: bool = False
    """slurm: queue the job again when it is preempted, when a node fails or when time is up."""
    follow: bool = False
    """show the logs until the job has ended."""
    image: str = "homerec"
    """container image, if the scheduler uses one."""
    name: str = "homerec"
    """name of the job."""
    dry_run: bool = False
    """print the request to the scheduler; start nothing."""

    @property
    def min_nnodes(self) -> int:
        """Fewest machines of an elastic job; 0: the job needs all of them."""
        low, colon, _ = self.nnodes.partition(":")
        return int(low) if colon else 0

    @property
    def max_nnodes(self) -> int:
        """Most machines of the job."""
        return int(self.nnodes.rpartition(":")[2])


def launch(*command: str, options: Annotated[LaunchOptions, FLAT] = LaunchOptions()) -> int:
    """Start ranks of a run through TorchX. On this machine: until they end, with their exit code.
    Elsewhere: submit the job.

    Args:
        command: what each rank runs, after --, such as: homerec launch --nproc 2 -- train kuairand
            --train.epochs 2
    """
    words = list(command)
    _check(options, words)
    with open_runner() as runner:
        cfg = scheduler_options(runner, options.scheduler, options.scheduler_args)
        if options.requeue:
            if options.scheduler != "slurm":
                raise UserError(
                    f"command line: --requeue is Slurm's; with {options.scheduler} --max-retries "
                    "starts the job again after it failed"
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
    from torchx.specs import InvalidRunConfigException

    scheduler: str = options.scheduler
    # A dry run writes nothing, so it patches no image and copies no code.
    workspace = None if options.dry_run else options.workspace
    with tools_of(scheduler), service_errors(scheduler):
        try:
            request = runner.dryrun(app, scheduler, cfg, workspace=workspace)
        except InvalidRunConfigException as error:
            reason = str(error).partition(". Given")[0]
            raise UserError(f"command line: --scheduler-args: {reason}") from error
        if options.dry_run:
            sys.stdout.write(f"{pformat(asdict(app))}\n\n{request}\n")
            return 0
        handle = runner.schedule(request)
    sys.stdout.write(
        f"submitted {handle}\nlook at it: homerec status {handle}\n"
        f"follow it:  homerec logs --follow {handle}\nstop it:    homerec cancel {handle}\n"
    )
    sys.stdout.flush()
    return show_logs(runner, handle) if options.follow else 0


def _check(options: LaunchOptions, words: list[str]) -> None:
    if not words:
        raise UserError(f"command line: nothing to launch; write it after --, as in: {_EXAMPLE}")
    if words[0] not in _SUBCOMMANDS:
        raise UserError(
            f"command line: cannot launch {words[0]!r}; {nearest(words[0], _SUBCOMMANDS)}"
        )
    _check_machines(options.nnodes)
    if options.nproc > _MAX_NPROC:
        raise UserError(f"command line: --nproc {options.nproc}: give at most {_MAX_NPROC}")
    name = options.name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):  # it becomes a folder, a job, a pod
        raise UserError(
            f"command line: --name {name!r}: use letters, digits and '-', a letter first"
        )
    if options.min_nnodes and (words[0] != "train" or "--overwrite" in words):
        raise UserError(
            "command line: --nnodes MIN:MAX is for 'train' without --overwrite, which every "
            "machine that comes back would do again; remove the old run first"
        )
    if options.workspace and options.scheduler == "local_cwd":
        raise UserError("command line: --workspace: a job on this machine runs this code as it is")
    if options.mount and options.scheduler not in _WITH_MOUNTS:
        raise UserError(
            f"command line: --mount: {options.scheduler} mounts nothing; these do: "
            f"{', '.join(_WITH_MOUNTS)}"
        )
    if options.scheduler == "aws_batch" and not (options.mem_mb or options.resource):
        raise UserError(
            "command line: --scheduler aws_batch: AWS Batch starts no machine of unknown memory; "
            "give --mem-mb N or --resource NAME"
        )


def _check_machines(text: str) -> None:
    counts = text.split(":")
    if len(counts) > 2 or not all(re.fullmatch("0*[1-9][0-9]{0,9}", n) for n in counts):
        raise UserError(f"command line: --nnodes {text!r} is not a whole number from 1 on, or two")
    if max(map(int, counts)) > _MAX_NNODES:
        raise UserError(f"command line: --nnodes {text!r}: give at most {_MAX_NNODES}")
    if int(counts[0]) > int(counts[-1]):
        raise UserError(
            f"command line: --nnodes {text!r}: the fewest come first, as in {counts[1]}:{counts[0]}"
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
    """TorchX's flat list of options. UserError for one that it cannot read."""
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
    """The AppDef of this command line."""
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
        # All 'machines' are this one: they share its cores, and no port is theirs by right.
        cpu = cpu or max(1, (os.cpu_count() or 1) // most)
        rdzv_port = free_port()
        if "OMP_NUM_THREADS" in os.environ:
            env.setdefault("OMP_NUM_THREADS", literal(os.environ["OMP_NUM_THREADS"]))
    if options.resource:
        _check_resource(options.resource)
    if fewest and "--resume" not in words:
        words = [*words, "--resume", "auto"]  # a machine that comes back has no count of restarts
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
