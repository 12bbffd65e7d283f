"""Runs torchrun on one machine of a job, with an exit code that describes how its ranks ended.

    python -m launchers.elastic.agent --nnodes 2 ... -m launchers.cli train demo

torchrun exits with 1 for every failure, so a scheduler cannot distinguish a user's mistake, which
must not be retried, from a lost machine. On SIGUSR1, Slurm's warning before it ends a job, torchrun
dies without forwarding the signal to the ranks. The agent fixes both, and prints the error line of
the ranks last, after torchrun's summary.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    record,
)
from torch.distributed.elastic.rendezvous import RendezvousError

from launchers.elastic import no_restart_on_user_error
from launchers.elastic.rendezvous_handler import RendezvousEnded, register
from launchers.torchx.literal import literal
from pipeline.io.exit_codes import ExitCode
from pipeline.io.rank_exit import RankExit, describe_code, read_exit, write_exit
from pipeline.io.streams import escape_unencodable_output

_NAMED_IN_ONE_LINE = (ExitCode.USER_ERROR, ExitCode.RANK_LOST)
_PASSED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"


def main(words: Sequence[str]) -> int:
    """Run torchrun on `words`.

    Returns:
        0; ExitCode.STOPPED after a signal, which is forwarded to the ranks; RANK_LOST if the
        rendezvous failed or the job ended on the other nodes; else the exit code of the rank that
        failed first (128 + number if a signal killed it).
    """
    escape_unencodable_output()  # torchrun copies the lines of the ranks to our streams
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", _PASSED_ON)
    register()
    no_restart_on_user_error.register()
    with _log_folder():
        try:
            _torchrun(["--signals-to-handle", os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"], *words])
        except ChildFailedError as error:
            sys.stderr.write(f"{error}\n")
            ends = exits_of(error.failures)
            named = [end.line for end in ends if end.code in _NAMED_IN_ONE_LINE]
            sys.stderr.writelines(f"{line}\n" for line in dict.fromkeys(named))
            write_exit(ends[0])
            code = ends[0].code
            return code if code >= 0 else 128 - code
        except RendezvousError as error:
            sys.stderr.write(f"homerec: lost: {_why_apart(error)}\n")
            return ExitCode.RANK_LOST
        except SignalException:
            write_exit(RankExit(code=ExitCode.STOPPED, message="stopped by a signal"))
            return ExitCode.STOPPED
    return 0


@record
def _torchrun(words: Sequence[str]) -> None:
    """Run torchrun's main, passing the arguments of the ranks' module unchanged."""
    options = run.parse_args(words)  # type: ignore[no-untyped-call]
    options.training_script_args = [literal(word) for word in options.training_script_args]
    run.run(options)  # type: ignore[no-untyped-call]


@contextmanager
def _log_folder() -> Iterator[None]:
    """Set torchrun's log folder to a temporary one, unless the environment names one."""
    if "PET_LOG_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="homerec-agent-") as made:
        os.environ["PET_LOG_DIR"] = made
        try:
            yield
        finally:
            del os.environ["PET_LOG_DIR"]


def _why_apart(error: RendezvousError) -> str:
    if isinstance(error, RendezvousEnded):
        return str(error)
    reason = str(error.__cause__ or error).strip().partition("\n")[0]
    return f"rendezvous failed: {reason or type(error).__name__}"


def exits_of(failures: Mapping[int, ProcessFailure]) -> list[RankExit]:
    """Return how the ranks of this machine ended (global rank -> failure), the cause first."""
    ends = [_exit_of(rank, failure) for rank, failure in failures.items()]
    return sorted(ends, key=lambda end: end.order)


def _exit_of(rank: int, failure: ProcessFailure) -> RankExit:
    code = failure.exitcode
    if left := read_exit(Path(failure.error_file)):
        return replace(left, code=code)
    # It could write nothing, as one that a signal killed. torchrun noticed in this whole second:
    # its start is before whatever this end led to, its end after whatever led to a stop.
    at = failure.timestamp + (1 if code == ExitCode.STOPPED else 0)
    return RankExit(code=code, message=describe_code(code), rank=rank, time=at)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
