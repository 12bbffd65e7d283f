"""`homerec rendezvous`: runs the rendezvous store of an elastic job on a separate machine.

By default the store is on the job's first machine, and losing that machine ends the job.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from pipeline.io.interrupts import NUMBERS

PORT = 29500


def rendezvous(
    *, port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = PORT
) -> int:
    """Run the rendezvous store of an elastic job until stopped.

    Args:
        port: TCP port to listen on; 0: any free port.
    """
    from launchers.elastic.rendezvous_store import open_rendezvous_store

    signals = set(NUMBERS)
    # Block signals before the store's threads start, or the threads would receive them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        store = open_rendezvous_store(port)
        place = f"{socket.gethostname()}:{store.port}"
        sys.stdout.write(
            f"rendezvous store at {place}: homerec launch --rdzv-endpoint {place} ...\n"
        )
        sys.stdout.flush()
        signal.sigwait(signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0
