"""TorchX's runner with our Slurm scheduler; its errors become UserErrors."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from launchers.torchx.scheduler_config import check_printable, configured
from pipeline.io.errors import UserError, nearest
from pipeline.io.interrupts import NUMBERS

_EXTRAS = {
    "kubernetes": "torchx[kubernetes]",
    "boto3": "torchx[aws_batch]",
    "google.cloud.batch_v1": "torchx[gcp_batch]",
    "ray": "torchx[ray]",
}
# Without which TorchX cannot make a scheduler's request.
_PACKAGES = {
    "kubernetes": "kubernetes",
    "kubernetes_mcad": "kubernetes",
    "gcp_batch": "google.cloud.batch_v1",  # other packages share google.cloud
    "ray": "ray",
}
_HANDLE = re.compile(r"(?P<scheduler>\w+)://(?P<session>[^/]*)/(?P<app>[^/]+)")


@contextmanager
def open_runner() -> Iterator[Any]:
    """Return a TorchX runner, whose handles are SCHEDULER://homerec/APP."""
    from torchx.runner.api import Runner
    from torchx.schedulers import get_scheduler_factories

    def slurm(session_name: str, **more: object) -> Any:
        from launchers.slurm.scheduler import create_scheduler

        return create_scheduler(session_name, **more)

    factories = {**get_scheduler_factories(), "slurm": slurm}
    kept = {name: _keeping_handlers(factory) for name, factory in factories.items()}
    with Runner("homerec", kept) as runner:
        yield runner


def _keeping_handlers(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Create a scheduler without its signal handlers: those of 'local_cwd' raise an Exception."""

    def create(*args: Any, **more: Any) -> Any:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        handlers = {number: signal.getsignal(number) for number in NUMBERS}
        try:
            return factory(*args, **more)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    return create


@contextmanager
def tools_of(scheduler: str) -> Iterator[None]:
    """Raise UserError if a scheduler's program (sbatch) or Python package is missing."""
    try:
        yield
    except (FileNotFoundError, ModuleNotFoundError) as error:
        missing = error.filename if isinstance(error, FileNotFoundError) else error.name
        extra = _EXTRAS.get(str(missing))
        remedy = f"pip install '{extra}'" if extra else "launch where the cluster's tools are"
        raise UserError(
            f"command line: --scheduler {scheduler} needs {missing!r}, which is not installed "
            f"here; {remedy}"
        ) from error


@contextmanager
def service_errors(scheduler: str) -> Iterator[None]:
    """Raise UserError with the message of a service (Docker, Kubernetes, AWS) that fails."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("docker", "kubernetes", "botocore"):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"--scheduler {scheduler}: {reason}") from error


def scheduler_options(runner: Any, scheduler: str, text: str) -> dict[str, Any]:
    """`k=v,...` in the scheduler's own types, over those of .torchxconfig in this folder.

    Raises UserError for a scheduler or an option that is not known, and for all that is missing.
    """
    check_known(runner, scheduler)
    if scheduler == "ray":  # TorchX ignores its absence, and fails on a name later
        _check_complete(scheduler, (), {})
    with tools_of(scheduler), service_errors(scheduler):
        options = runner.scheduler_run_opts(scheduler)
    check_printable("command line: --scheduler-args", text)
    names = [name for name, _ in options]
    for name in re.findall(r"(?:^|[,;])\s*([^=,;]+)=", text):
        if name not in names:
            raise UserError(f"command line: --scheduler-args {name!r}: {nearest(name, names)}")
    if text and "=" not in text.split(",")[0]:
        raise UserError(f"command line: --scheduler-args {text!r}: write it as name=value,...")
    try:
        cfg: dict[str, Any] = options.cfg_from_str(text)
    except ValueError as error:
        raise UserError(f"command line: --scheduler-args {text!r}: {error}") from error
    cfg = {**configured(scheduler, options), **cfg}
    _check_complete(scheduler, options, cfg)
    return cfg


def _check_complete(scheduler: str, options: Any, cfg: dict[str, Any]) -> None:
    """UserError that names every option and package that a request lacks, all at once."""
    lacking = [
        f"--scheduler-args {name}=... ({option.help})"
        for name, option in options
        if option.is_required and cfg.get(name) is None
    ]
    package = _PACKAGES.get(scheduler)
    if package and not _is_installed(package):
        lacking.append(f"the package {package!r} (pip install '{_EXTRAS[package]}')")
    if lacking:
        raise UserError(f"command line: --scheduler {scheduler} needs {', and '.join(lacking)}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent
        return False


def check_known(runner: Any, scheduler: str) -> None:
    """Raise UserError for a scheduler that TorchX does not have."""
    known = runner.scheduler_backends()
    if scheduler not in known:
        raise UserError(f"command line: --scheduler {scheduler!r}: {nearest(scheduler, known)}")


def read_handle(runner: Any, text: str) -> tuple[str, str]:
    """Return scheduler and job of SCHEDULER://SESSION/APP. Raises UserError otherwise."""
    match = _HANDLE.fullmatch(text)
    if match is None:
        raise UserError(
            f"command line: {text!r} is not a job handle; write SCHEDULER://homerec/APP, as "
            "printed by 'launch'"
        )
    check_known(runner, match["scheduler"])
    if match["scheduler"] == "local_cwd":
        raise UserError(
            f"command line: {text!r}: a job on this machine is shown by the 'launch' that "
            "started it; stop it there with Ctrl-C"
        )
    return match["scheduler"], match["app"]
