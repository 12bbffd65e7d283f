"""torchrun on one machine of a job, whose exit code says how its ranks ended.

    python -m pipeline.agent --nnodes 2 ... -m launchers.cli train demo     # torchrun's own words

torchrun itself ends with 1 whatever happened: a scheduler could not tell a user's mistake, which
no second try mends, from a machine that was lost, and tries again either way. And of SIGUSR1, which
Slurm sends as a warning before it ends a job, it dies without a word to the ranks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from pipeline import one_try

STOPPED = 128 + signal.SIGTERM
"""Exit code of ranks that a signal stopped after they had saved, and of their agent."""

_PASSED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"


def main(words: Sequence[str]) -> int:
    """Run torchrun on `words`.

    Returns 0; after a signal, which the ranks got too, STOPPED; else the exit code of the rank
    that failed first (128 + number for one that a signal killed).
    """
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", _PASSED_ON)
    one_try.register()
    try:
        run.main(["--signals-to-handle", os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"], *words])
    except ChildFailedError as error:
        sys.stderr.write(f"{error}\n")
        return first_code(error.failures)
    except SignalException:
        return STOPPED
    return 0


def first_code(failures: Mapping[int, ProcessFailure]) -> int:
    """The exit code, as a shell would say it, of who failed first and was not merely stopped."""
    stopped = (-signal.SIGTERM, STOPPED)
    found = sorted(failures.values(), key=lambda one: (one.exitcode in stopped, one.timestamp))
    code = found[0].exitcode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
