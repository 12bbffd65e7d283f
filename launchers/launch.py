"""`homerec launch`: ranks of a run started through TorchX, here or on a cluster."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pprint import pformat
from typing import Any

from pipeline.errors import UserError, nearest

_SUBCOMMANDS = ["train", "evaluate"]
_EXAMPLE = "homerec launch --nproc 2 -- train kuairand --train.epochs 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand. Imports no TorchX: help must come at once."""
    parser.add_argument("--scheduler", default="local_cwd", help="of TorchX, e.g. local_cwd, slurm")
    parser.add_argument(
        "--scheduler-args",
        default="",
        metavar="K=V,...",
        help="its own options, e.g. partition=P ('torchx runopts' lists them)",
    )
    parser.add_argument("--nnodes", type=_at_least(1), default=1, metavar="N", help="machines")
    parser.add_argument("--nproc", type=_at_least(1), default=2, metavar="N", help="ranks on each")
    parser.add_argument(
        "--cpu", type=_at_least(0), default=0, metavar="N", help="CPUs of each; 0: as it comes"
    )
    parser.add_argument("--gpu", type=_at_least(0), default=0, metavar="N", help="GPUs of each")
    parser.add_argument(
        "--mem-mb", type=_at_least(0), default=0, metavar="N", help="memory of each"
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

    Raises UserError for a command line that cannot be started.
    """
    words: list[str] = args.words[1:] if args.words[:1] == ["--"] else args.words
    _check(args.name, words)

    from torchx.runner import get_runner

    with get_runner() as runner:
        cfg = _scheduler_options(runner, args.scheduler, args.scheduler_args)
        app = _app(args, words)
        if args.scheduler == "local_cwd" and not args.dryrun:
            from launchers.follow import run_here

            return run_here(runner, app, cfg, nproc=args.nproc)
        return _submit(runner, app, args.scheduler, cfg, dryrun=args.dryrun)


def _submit(runner: Any, app: Any, scheduler: str, cfg: dict[str, Any], *, dryrun: bool) -> int:
    """Hand the job to a scheduler and say where it went; with `dryrun` only show it."""
    from torchx.specs import InvalidRunConfigException

    with _tools_of(scheduler):
        try:
            request = runner.dryrun(app, scheduler, cfg)
        except InvalidRunConfigException as error:
            reason = str(error).partition(". Given")[0]
            raise UserError(f"command line: --scheduler-args: {reason}") from error
        if dryrun:
            sys.stdout.write(f"{pformat(asdict(app))}\n\n{request}\n")
            return 0
        handle = runner.schedule(request)
    sys.stdout.write(
        f"submitted {handle}\nfollow it: torchx log {handle}\nstop it:   torchx cancel {handle}\n"
    )
    return 0


@contextmanager
def _tools_of(scheduler: str) -> Iterator[None]:
    """UserError where a scheduler's program (sbatch) or Python package is not installed."""
    try:
        yield
    except (FileNotFoundError, ModuleNotFoundError) as error:
        missing = error.filename if isinstance(error, FileNotFoundError) else error.name
        raise UserError(
            f"command line: --scheduler {scheduler} needs {missing!r}, which is not installed "
            "here; launch from where the cluster's tools are"
        ) from error


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} on")
        return int(text)

    return number


def _check(name: str, words: list[str]) -> None:
    if not words:
        raise UserError(f"command line: nothing to launch; say it after --, as in: {_EXAMPLE}")
    if words[0] not in _SUBCOMMANDS:
        raise UserError(
            f"command line: cannot launch {words[0]!r}; {nearest(words[0], _SUBCOMMANDS)}"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):  # it becomes a folder, a job, a pod
        raise UserError(
            f"command line: --name {name!r}: use letters, digits and '-', a letter first"
        )


def _app(args: argparse.Namespace, words: list[str]) -> Any:
    """The AppDef of this command line."""
    from launchers.components import train
    from launchers.follow import GRACE_S

    env = {}
    cpu = args.cpu
    rdzv_port = 29500
    if args.scheduler == "local_cwd":
        # All 'machines' are this one: they share its cores, and no port is theirs by right.
        cpu = cpu or max(1, (os.cpu_count() or 1) // args.nnodes)
        rdzv_port = _free_port()
        if "OMP_NUM_THREADS" in os.environ:
            env["OMP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]
    return train(
        *words[1:],
        subcommand=words[0],
        nnodes=args.nnodes,
        nproc=args.nproc,
        cpu=cpu,
        gpu=args.gpu,
        memMB=args.mem_mb,
        grace=GRACE_S,
        name=args.name,
        image=args.image,
        env=env,
        rdzv_port=rdzv_port,
        m=args.module,
    )


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


def _scheduler_options(runner: Any, scheduler: str, text: str) -> dict[str, Any]:
    """`k=v,...` in the scheduler's own types, over those of .torchxconfig in this folder.

    Raises UserError for a scheduler or an option that is not known.
    """
    from torchx.runner import config

    known = runner.scheduler_backends()
    if scheduler not in known:
        raise UserError(f"command line: --scheduler {scheduler!r}: {nearest(scheduler, known)}")
    with _tools_of(scheduler):
        options = runner.scheduler_run_opts(scheduler)
    names = [name for name, _ in options]
    for name in re.findall(r"(?:^|[,;])\s*([^=,;]+)=", text):
        if name not in names:
            raise UserError(f"command line: --scheduler-args {name!r}: {nearest(name, names)}")
    if text and "=" not in text.split(",")[0]:
        raise UserError(f"command line: --scheduler-args {text!r}: write it as name=value,...")
    cfg: dict[str, Any] = options.cfg_from_str(text)
    config.apply(scheduler=scheduler, cfg=cfg)
    return cfg
