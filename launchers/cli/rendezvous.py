"""`homerec rendezvous`: where the machines of an elastic job meet, kept by none of them.

Without it they meet on the first machine, and a job that loses that one has lost all.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys

PORT = 29500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help="TCP port to listen on; 0: any free one"
    )


def run(args: argparse.Namespace) -> int:
    """Listen until a signal comes. UserError for a port that is taken."""
    from launchers.elastic.rendezvous_store import meeting_store

    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the store's threads, or they get it
    store = meeting_store(args.port)
    place = f"{socket.gethostname()}:{store.port}"
    sys.stdout.write(f"machines meet at {place}: homerec launch --rdzv-endpoint {place} ...\n")
    sys.stdout.flush()
    signal.sigwait(signals)
    return 0
