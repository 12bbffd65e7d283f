"""A server that has imported torch already, which processes are forked from."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running


def fork_server(*modules: str) -> ForkServerContext:
    """Processes forked from a server that has imported torch and `modules`; the server runs.

    There is one server a process: of later calls `modules` are ignored.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.train", *modules])
    before = dict(os.environ)
    # It must import what this process imports, and not what lies in the working directory; and it
    # must not touch CUDA, which no fork survives.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    os.environ.update(PYTHONPATH=paths, PYTHONSAFEPATH="1", PYTORCH_NVML_BASED_CUDA_CHECK="1")
    # Ranks keep freed memory (pipeline/ranks/allocator.py); the server's own threads must not leave
    # them second arenas.
    os.environ["MALLOC_ARENA_MAX"] = "1"
    # Until a rank has a session of its own, Ctrl-C would reach it, too.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        os.environ.clear()
        os.environ.update(before)
    return context
