"""torchrun on one machine of a job, whose exit code says how its ranks ended.

    python -m launchers.elastic.agent --nnodes 2 ... -m launchers.cli train demo

torchrun itself ends with 1 whatever happened: a scheduler could not tell a user's mistake, which no
second try mends, from a machine that was lost, and tries again either way. And of SIGUSR1, which
Slurm sends as a warning before it ends a job, it dies without a word to the ranks. Last comes what
a person needs to know: the ranks' own line, which torchrun's summary would bury.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError

from launchers.elastic import no_restart_on_user_error as one_try
from launchers.elastic.rendezvous_handler import MeetingOver, register
from pipeline.io.exit_codes import ExitCode

_REASON = re.compile(r"^(?:\[rank\d+\]: ?)?(homerec: (?:error|lost): .*)$", re.MULTILINE)
_PASSED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"


def main(words: Sequence[str]) -> int:
    """Run torchrun on `words`.

    Returns 0; ExitCode.STOPPED after a signal, which the ranks got too; RANK_LOST where the
    machines did not meet, or the job is over on the others; else the exit code of the rank that
    failed first (128 + number for one that a signal killed).
    """
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", _PASSED_ON)
    register()
    one_try.register()
    with _log_folder(words) as logs:
        try:
            run.main(["--signals-to-handle", os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"], *words])
        except ChildFailedError as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.writelines(f"{line}\n" for line in last_words(logs))
            return first_code(error.failures)
        except RendezvousError as error:
            sys.stderr.write(f"homerec: lost: {_why_apart(error)}\n")
            return ExitCode.RANK_LOST
        except SignalException:
            return ExitCode.STOPPED
    return 0


@contextmanager
def _log_folder(words: Sequence[str]) -> Iterator[Path]:
    """Where torchrun keeps a copy of what ranks write: one of its own unless it was told."""
    told = os.environ.get("PET_LOG_DIR")
    options = [word.partition("=")[0].replace("-", "_") for word in words]
    if "__log_dir" in options:
        told = (
            words[options.index("__log_dir")].partition("=")[2]
            or words[options.index("__log_dir") + 1]
        )
    if told:
        yield Path(told)
        return
    made = tempfile.mkdtemp(prefix="homerec-agent-")
    os.environ["PET_LOG_DIR"] = made
    try:
        yield Path(made)
    finally:
        del os.environ["PET_LOG_DIR"]
        shutil.rmtree(made)


def _why_apart(error: RendezvousError) -> str:
    if isinstance(error, MeetingOver):
        return str(error)
    reason = str(error.__cause__ or error).strip().partition("\n")[0]
    return f"the machines did not meet: {reason or type(error).__name__}"


def last_words(logs: Path) -> list[str]:
    """The one-line reasons that ranks of this machine ended for, each once."""
    texts = (path.read_text(errors="replace") for path in sorted(logs.rglob("stderr.log")))
    found = [match[1] for text in texts for match in _REASON.finditer(text)]
    return list(dict.fromkeys(found))


def first_code(failures: Mapping[int, ProcessFailure]) -> int:
    """The exit code, as a shell would say it, of who failed first and was not merely stopped."""
    stopped = (-signal.SIGTERM, ExitCode.STOPPED)
    found = sorted(failures.values(), key=lambda one: (one.exitcode in stopped, one.timestamp))
    code = found[0].exitcode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
