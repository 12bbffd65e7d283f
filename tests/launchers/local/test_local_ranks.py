"""Ranks of a short job: what comes back, and what a failure of one does."""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from launchers.local.local_ranks import LocalRanks, run_ranks
from launchers.local.rank_process import RankFailed
from pipeline.io.errors import UserError
from pipeline.ranks.world import World


def summed(world: World, start: int) -> tuple[int, int, int]:
    total = torch.tensor(start + world.rank)
    dist.all_reduce(total)
    return int(total), world.size, world.local_size


def reject(world: World) -> None:
    if world.rank == 1:
        raise UserError("plan.json: not today; come again")
    dist.barrier()


def die(world: World) -> None:
    if world.rank == 1:
        os._exit(7)
    dist.barrier()


def faults_of_a_collection(world: World) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fail(world: World) -> None:
    raise ZeroDivisionError(f"on {world.rank}")


def leave_early(world: World) -> str:
    dist.destroy_process_group()  # the rank's own, at its end, then fails
    return "done"


def test_ranks_meet_and_the_first_answers() -> None:
    assert run_ranks(summed, 3, 10, local_size=1) == (33, 3, 1)


def test_garbage_collection_copies_no_memory_shared_with_the_server() -> None:
    assert run_ranks(faults_of_a_collection, 1) < 2000


def test_what_fails_after_the_result_is_printed() -> None:
    words = (
        "from launchers.local.local_ranks import run_ranks\n"
        "from tests.launchers.local.test_local_ranks import leave_early\n"
        "print(run_ranks(leave_early, 1))"
    )
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert found.stdout == "done\n"
    assert "destroy_process_group" in found.stderr


def test_a_users_mistake_on_any_rank_is_the_users() -> None:
    with pytest.raises(UserError, match=r"plan\.json: not today; come again"):
        run_ranks(reject, 2)


@pytest.mark.parametrize(
    ("fn", "words"), [(die, "rank 1 died: exit code 7"), (fail, "ZeroDivisionError: on ")]
)
def test_a_failed_rank_fails_all(fn: object, words: str) -> None:
    with pytest.raises(RankFailed, match=words):
        run_ranks(fn, 2)  # type: ignore[arg-type]


def test_a_rank_that_cannot_join_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none0")  # no such network interface
    with pytest.raises(RankFailed, match="none0"):
        run_ranks(summed, 2, 10)


def save_when_stopped(world: World) -> None:
    caught: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    while not caught:
        signal.pause()
    time.sleep(0.2)  # time enough for a second signal, were there one
    sys.stdout.write(f"saved after {len(caught)} SIGTERM\n")


def start_and_wait(log: str) -> None:
    """In a process of its own, to be killed."""
    ranks = LocalRanks(save_when_stopped, 1, log=Path(log))
    ranks.poll(None)


def test_ranks_of_a_killed_process_are_stopped_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    code = f"import {__name__} as here; here.start_and_wait({str(log)!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while "begins" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    with log.open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the rank holds it to its end
        assert file.read().splitlines() == ["begins", "saved after 1 SIGTERM"]
