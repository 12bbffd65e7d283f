"""`homerec launch`: ranks of a run started through TorchX, here or on a cluster."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pprint import pformat
from typing import Any

from launchers.cli.jobs import follow
from launchers.torchx.schedulers import open_runner, refusals_of, scheduler_options, tools_of
from pipeline.io.errors import UserError, nearest

_SUBCOMMANDS = ["train", "evaluate"]
_ELASTIC_RESTARTS = 100  # each loss of a machine costs one, and the return of one none
_WITH_MOUNTS = ["local_docker", "kubernetes", "kubernetes_mcad", "aws_batch", "gcp_batch"]
_EXAMPLE = "homerec launch --nproc 2 -- train kuairand --train.epochs 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand. Imports no TorchX: help must come at once."""
    parser.add_argument("--scheduler", default="local_cwd", help="of TorchX, e.g. local_cwd, slurm")
    parser.add_argument(
        "--scheduler-args",
        default="",
        metavar="K=V,...",
        help="its own options, e.g. partition=P,time=60 (docs/guides/clusters.md)",
    )
    parser.add_argument(
        "--nnodes",
        type=_machines,
        default="1",
        metavar="N|MIN:MAX",
        help="machines; MIN:MAX: the job goes on with those that are left, down to MIN, and with "
        "more once they are back",
    )
    parser.add_argument("--nproc", type=_at_least(1), default=2, metavar="N", help="ranks on each")
    parser.add_argument(
        "--cpu", type=_at_least(0), default=0, metavar="N", help="CPUs of each; 0: as it comes"
    )
    parser.add_argument("--gpu", type=_at_least(0), default=0, metavar="N", help="GPUs of each")
    parser.add_argument(
        "--mem-mb", type=_at_least(0), default=0, metavar="N", help="memory of each"
    )
    parser.add_argument(
        "--resource", metavar="NAME", help="instead of these: TorchX's name of a kind of machine"
    )
    parser.add_argument(
        "--env",
        type=_pair,
        action="append",
        default=[],
        metavar="K=V",
        help="a variable for every rank (repeat it for more)",
    )
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="type=T,src=S,dst=D",
        help="a folder or volume for data or runs (repeat it for more); type: bind, volume, device",
    )
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        help="run the code of this folder as it is now: patched into the image, or copied (slurm)",
    )
    parser.add_argument(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        help="where machines meet, as 'homerec rendezvous' said (default: on the first of them)",
    )
    parser.add_argument(
        "--max-restarts",
        type=_at_least(0),
        metavar="N",
        help="how often ranks begin again after one failed (default: 0; with MIN:MAX "
        f"{_ELASTIC_RESTARTS})",
    )
    parser.add_argument(
        "--max-retries",
        type=_at_least(0),
        default=0,
        metavar="N",
        help="how often the scheduler starts the whole job again after it failed",
    )
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="slurm: back into the queue when preempted, when a node fails, or when time is up",
    )
    parser.add_argument(
        "--follow", action="store_true", help="show the logs until the job has ended"
    )
    parser.add_argument("--image", default="homerec", help="container image, if one is used")
    parser.add_argument("--name", default="homerec", help="name of the job")
    parser.add_argument(
        "--dryrun", action="store_true", help="print what the scheduler would be asked for"
    )
    parser.set_defaults(module="launchers.cli")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, help=f"-- and what each rank runs, as in: {_EXAMPLE}"
    )


def run(args: argparse.Namespace) -> int:
    """Start the job. Here: follow it to its end and return its exit code. Elsewhere: submit it.

    Raises UserError for a command line that cannot be started, and for a job that is refused.
    """
    words: list[str] = args.words[1:] if args.words[:1] == ["--"] else args.words
    _check(args, words)

    with open_runner() as runner:
        cfg = scheduler_options(runner, args.scheduler, args.scheduler_args)
        if args.requeue:
            if args.scheduler != "slurm":
                raise UserError(
                    f"command line: --requeue is Slurm's; with {args.scheduler} --max-retries "
                    "starts the job again after it failed"
                )
            cfg["requeue"] = True
        here = args.scheduler == "local_cwd"
        elastic = args.nnodes[0] > 0
        if here and elastic and not args.rdzv_endpoint:
            args.rdzv_endpoint = f"localhost:{_free_port()}"
        app = _app(args, words)
        if here and not args.dryrun:
            from launchers.local.local_job import run_here

            back = args.max_retries if elastic else None
            return run_here(runner, app, cfg, nproc=args.nproc, back=back)
        return _submit(runner, app, args, cfg)


def _submit(runner: Any, app: Any, args: argparse.Namespace, cfg: dict[str, Any]) -> int:
    """Hand the job to a scheduler and say where it went; with --dryrun only show it."""
    from torchx.specs import InvalidRunConfigException

    scheduler: str = args.scheduler
    # A dry run writes nothing, so it patches no image and copies no code.
    workspace = None if args.dryrun else args.workspace
    with tools_of(scheduler), refusals_of(scheduler):
        try:
            request = runner.dryrun(app, scheduler, cfg, workspace=workspace)
        except InvalidRunConfigException as error:
            reason = str(error).partition(". Given")[0]
            raise UserError(f"command line: --scheduler-args: {reason}") from error
        if args.dryrun:
            sys.stdout.write(f"{pformat(asdict(app))}\n\n{request}\n")
            return 0
        handle = runner.schedule(request)
    sys.stdout.write(
        f"submitted {handle}\nlook at it: homerec status {handle}\n"
        f"follow it:  homerec logs --follow {handle}\nstop it:    homerec cancel {handle}\n"
    )
    sys.stdout.flush()
    return follow(runner, handle) if args.follow else 0


def _machines(text: str) -> tuple[int, int]:
    """(fewest, most); fewest is 0 where the job takes all or none."""
    low, colon, high = text.partition(":")
    most = _at_least(1)(high if colon else low)
    fewest = _at_least(1)(low) if colon else 0
    if fewest > most:
        raise argparse.ArgumentTypeError(f"{text!r}: the fewest come first, as in {most}:{fewest}")
    return fewest, most


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} on")
        return int(text)

    return number


def _check(args: argparse.Namespace, words: list[str]) -> None:
    if not words:
        raise UserError(f"command line: nothing to launch; say it after --, as in: {_EXAMPLE}")
    if words[0] not in _SUBCOMMANDS:
        raise UserError(
            f"command line: cannot launch {words[0]!r}; {nearest(words[0], _SUBCOMMANDS)}"
        )
    name: str = args.name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):  # it becomes a folder, a job, a pod
        raise UserError(
            f"command line: --name {name!r}: use letters, digits and '-', a letter first"
        )
    if args.nnodes[0] and (words[0] != "train" or "--overwrite" in words):
        raise UserError(
            "command line: --nnodes MIN:MAX is for 'train' without --overwrite, which every "
            "machine that comes back would do again; remove the old run first"
        )
    if args.workspace and args.scheduler == "local_cwd":
        raise UserError("command line: --workspace: a job on this machine runs this code as it is")
    if args.mount and args.scheduler not in _WITH_MOUNTS:
        raise UserError(
            f"command line: --mount: {args.scheduler} mounts nothing; these do: "
            f"{', '.join(_WITH_MOUNTS)}"
        )
    if args.scheduler == "aws_batch" and not (args.mem_mb or args.resource):
        raise UserError(
            "command line: --scheduler aws_batch: AWS Batch starts no machine of unknown memory; "
            "say --mem-mb N or --resource NAME"
        )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _mounts(texts: list[str]) -> list[str]:
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


def _app(args: argparse.Namespace, words: list[str]) -> Any:
    """The AppDef of this command line."""
    from launchers.local.local_job import GRACE_S
    from launchers.torchx.components import train

    env = dict(args.env)
    cpu = args.cpu
    fewest, most = args.nnodes
    restarts = args.max_restarts
    if restarts is None:
        restarts = _ELASTIC_RESTARTS if fewest else 0
    rdzv_port = 29500
    if args.scheduler == "local_cwd":
        # All 'machines' are this one: they share its cores, and no port is theirs by right.
        cpu = cpu or max(1, (os.cpu_count() or 1) // most)
        rdzv_port = _free_port()
        if "OMP_NUM_THREADS" in os.environ:
            env.setdefault("OMP_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    if args.resource:
        _check_resource(args.resource)
    if fewest and "--resume" not in words:
        words = [*words, "--resume", "auto"]  # a machine that comes back has no count of restarts
    return train(
        *words[1:],
        subcommand=words[0],
        nnodes=most,
        min_nnodes=fewest,
        rdzv_endpoint=args.rdzv_endpoint,
        nproc=args.nproc,
        cpu=cpu,
        gpu=args.gpu,
        memMB=args.mem_mb,
        h=args.resource,
        max_restarts=restarts,
        max_retries=args.max_retries,
        grace=GRACE_S,
        name=args.name,
        image=args.image,
        env=env,
        mounts=_mounts(args.mount),
        rdzv_port=rdzv_port,
        m=args.module,
    )


def _check_resource(name: str) -> None:
    from torchx.specs import named_resources

    try:
        named_resources[name]
    except KeyError as error:
        raise UserError(f"command line: --resource {name!r}: {error.args[0]}") from error


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port
