"""A rank that is lost is named by the others, whichever way it was lost, and nobody hangs."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore  # type: ignore[attr-defined]  # not in __all__

from launchers.local.free_port import free_port
from pipeline.io.errors import RankLost
from pipeline.io.exit_codes import ExitCode
from pipeline.ranks.heartbeat import Heartbeat, Pulse, monitored
from pipeline.ranks.world import open_world
from tests.ranks import RankError, run_ranks


def lose_rank_one(rank: int, size: int, what: str, port: int, folder: Path) -> None:
    """Two ranks join, then rank 1 does `what`; each writes its errors into `folder`."""
    with (folder / f"stderr{rank}").open("w", encoding="utf-8") as errors:
        os.dup2(errors.fileno(), 2)
    dist.barrier()  # Nobody hangs up on a rank that is still joining.
    dist.destroy_process_group()
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    try:
        with open_world(timeout=3) as world:
            dist.all_reduce(torch.ones(1))
            world.pulse.step = 7
            if rank == 1 and what in ("freeze", "lock-up"):
                os.kill(os.getpid(), signal.SIGSTOP)
            if rank == 1 and what == "dawdle":
                threading.Event().wait()
            if rank == 0 and what == "lock-up":
                threading.Event().wait()  # as gloo does: no time limit, and nobody wakes it
            dist.all_reduce(torch.ones(1))
    except RankLost as error:
        os.write(2, f"lost: {error}".encode())
        os._exit(ExitCode.RANK_LOST)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("freeze", r"does not answer \(its last word was from step \d\)"),
        ("lock-up", r"does not answer \(its last word was from step \d\)"),
        ("dawdle", "is alive, at step 7, but did not come within 3 s"),
    ],
)
def test_the_lost_rank_is_named(what: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"exit codes by rank: \[75, "):
        run_ranks(lose_rank_one, 2, what, free_port(), tmp_path)
    printed = (tmp_path / "stderr0").read_text(encoding="utf-8")
    assert re.search(rf"lost: step 7: rank 1 on \S+ {said}", printed), printed


def test_the_next_rank_is_well_as_long_as_it_has_news_or_has_left_in_order() -> None:
    store = HashStore()
    beat = Heartbeat(store, 1, 2, 600, Pulse())  # of two: the next one is rank 0
    assert not beat._next_is_well()
    store.set("beat0", "1 0 host")
    assert beat._next_is_well()
    assert not beat._next_is_well()
    store.set("beat0", "2 0 host")
    assert beat._next_is_well()
    with monitored(Heartbeat(store, 0, 2, 600, Pulse(step=3)), Pulse()):
        pass
    assert beat._next_is_well()
    assert beat._next_is_well()
    beat.close()
