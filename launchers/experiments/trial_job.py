"""`homerec` as the job of a trial: told to stop, once, when the process that searches is gone.

That process holds the other end of our stdin. The kernel's own parent-death signal will not do: it
comes once for each thread of a killed parent, up to a second apart, and a launcher that is told to
stop a second time kills its ranks before they have saved.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from launchers.cli.main import main


def stop_at_end_of(pipe: int) -> None:
    """SIGTERM to this process once nobody can write into `pipe` any more."""

    def wait() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    pipe = os.dup(0)  # not inherited: what the job starts has no stdin
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    stop_at_end_of(pipe)
    sys.exit(main())
