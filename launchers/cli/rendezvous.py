"""`homerec rendezvous`: the rendezvous store of an elastic job, on a machine that is none of its.

Without it the store is on the first machine, and a job that loses that one has lost all.
"""

from __future__ import annotations

import signal
import socket
import sys

PORT = 29500


def rendezvous(*, port: int = PORT) -> int:
    """Rendezvous store of an elastic job; runs until stopped.

    Args:
        port: TCP port to listen on; 0: any free one.
    """
    from launchers.elastic.rendezvous_store import open_rendezvous_store

    signals = {signal.SIGINT, signal.SIGTERM}
    # Before the store's threads start, or they would get the signals.
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
