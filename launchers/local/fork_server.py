"""A server process that has imported torch and forks other processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running

# The second compiles functional optimizers, which no rank uses: .5 s in each of them.
_IMPORTED = ("pipeline.train", "torch.distributed.optim.apply_optimizer_in_backward")


def fork_server(*modules: str) -> ForkServerContext:
    """Start the server, with torch and `modules` imported; return a context that forks from it.

    There is one server per process: later calls ignore `modules`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_IMPORTED, *modules])
    before = dict(os.environ)
    # The server must import the same files as this process, not those in the working directory,
    # and must not initialize CUDA, which does not survive a fork.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    os.environ.update(PYTHONPATH=paths, PYTHONSAFEPATH="1", PYTORCH_NVML_BASED_CUDA_CHECK="1")
    # Ranks keep freed memory (pipeline/ranks/allocator.py); the server's own threads must not leave
    # them second arenas.
    os.environ["MALLOC_ARENA_MAX"] = "1"
    # Until a rank has its own session, Ctrl-C would reach it, too.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        os.environ.clear()
        os.environ.update(before)
    return context
