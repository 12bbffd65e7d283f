"""A rank of test_heartbeat: two meet, then rank 1 does what argv[1] says."""

from __future__ import annotations

import os
import signal
import sys
import threading

import torch
import torch.distributed as dist

from pipeline.io.errors import RankLost
from pipeline.io.exit_codes import ExitCode
from pipeline.ranks.world import open_world


def main() -> int:
    try:
        with open_world(timeout=3) as world:
            dist.all_reduce(torch.ones(1))
            world.pulse.step = 7
            if world.rank == 1 and sys.argv[1] in ("freeze", "lock-up"):
                os.kill(os.getpid(), signal.SIGSTOP)
            if world.rank == 1 and sys.argv[1] == "dawdle":
                signal.sigwait({signal.SIGTERM})
            if world.rank == 0 and sys.argv[1] == "lock-up":
                threading.Event().wait()  # as gloo does: no time limit, and nobody wakes it
            dist.all_reduce(torch.ones(1))
    except RankLost as error:
        sys.stderr.write(f"lost: {error}\n")
        sys.stderr.flush()
        os._exit(ExitCode.RANK_LOST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
