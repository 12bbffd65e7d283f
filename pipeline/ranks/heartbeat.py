"""Which rank is missing: each writes into the ranks' store that it lives, and at which step it is.

A collective that times out names nobody. Then, and only then, the ranks read what the others
wrote. Clocks of machines differ, so nobody's time is compared: who writes nothing new is silent.

And a collective need not time out: gloo may lock up where packets get lost one way (seen in 2 of
18 such losses). So each rank also watches the next one's notes, and ends if they stop and
its own collective has not said so long after it should have.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # not in __all__

from pipeline.io.errors import RankLost
from pipeline.io.exit_codes import ExitCode
from pipeline.io.rank_exit import exit_of, write_exit

# Messages of gloo's transport, which has no exception type.
_OF_GLOO = re.compile(
    r"gloo/|Connection (closed|reset) by peer|Timed out waiting|Broken pipe|Application timeout"
)
_INTERVALS = 3  # without a new heartbeat until a rank counts as silent
_SLACK_S = 5.0  # and ten intervals: what a collective that timed out needs to be explained


@dataclass
class Pulse:
    """The current step of this rank, updated by the training loop."""

    step: int = 0


class Heartbeat:
    """Heartbeats of ranks over a separate store connection, independent of collectives."""

    def __init__(self, store: Store, rank: int, size: int, timeout: int, pulse: Pulse) -> None:
        self._store = store
        self._rank = rank
        self._size = size
        self._timeout = timeout
        self._interval = max(0.2, min(5.0, timeout / 10))
        self._pulse = pulse
        self._limit = timeout + 10 * self._interval + _SLACK_S
        self._beats = 0
        self._next_note = b""
        self._unwell_s = 0.0
        self._over = threading.Event()
        self._beat()
        for name, target in (
            ("heartbeat", self._keep_beating),
            ("heartbeat-deadline", self._enforce_deadline),
        ):
            threading.Thread(target=target, daemon=True, name=name).start()

    def close(self) -> None:
        """Stop writing."""
        self._over.set()

    def leave(self) -> None:
        """Mark this rank as finished, so that others do not miss it."""
        with suppress(dist.DistError):  # the store is gone, so nobody reads it
            self._store.set(f"bye{self._rank}", "")

    def tell(self, reason: str) -> None:
        """Record why this rank ends, for the others."""
        with suppress(dist.DistError):  # the store is gone, so nobody reads it
            self._store.set(f"end{self._rank}", f"{socket.gethostname()} {reason}")

    def explain(self) -> str:
        """Return which rank is missing, in one sentence. Takes a few intervals."""
        answer: list[str] = []
        reader = threading.Thread(target=lambda: answer.append(self._missing()), daemon=True)
        reader.start()
        # If the link is cut, the store does not answer and calls do not fail.
        reader.join(self._interval * (2 * _INTERVALS) + 2)
        if answer:
            return answer[0]
        host = os.environ.get("MASTER_ADDR", "its machine")
        return f"rank 0 on {host} is not reachable from here ({socket.gethostname()})"

    def _keep_beating(self) -> None:
        # The store is gone: a collective will fail, or `_enforce_deadline` ends the process.
        with suppress(dist.DistError):
            while not self._over.wait(self._interval):
                self._beat()
                if self._next_is_well():
                    self._unwell_s = 0.0

    def _beat(self) -> None:
        self._beats += 1
        note = f"{self._beats} {self._pulse.step} {socket.gethostname()}"
        self._store.set(f"beat{self._rank}", note)

    def _next_is_well(self) -> bool:
        """Whether the store has a new heartbeat of the next rank (in a ring, so that it scales)."""
        after = (self._rank + 1) % self._size
        if self._store.check([f"bye{after}"]):
            return True
        if not self._store.check([f"beat{after}"]):  # it has not started yet
            return False
        before, self._next_note = self._next_note, self._store.get(f"beat{after}")
        return before != self._next_note

    def _enforce_deadline(self) -> None:
        """Exit this process if its main thread should have done so long ago."""
        while not self._over.wait(self._interval):
            # Do not use a clock: it advances while Slurm suspends the job.
            self._unwell_s += self._interval
            if self._unwell_s > self._limit:
                reason = lost(self._pulse, self.explain())
                if not self._over.is_set():
                    end = exit_of(RankLost(reason))
                    write_exit(end)
                    sys.stderr.write(f"{end.line}\n")
                    sys.stderr.flush()
                    os._exit(ExitCode.RANK_LOST)

    def _missing(self) -> str:
        try:
            before = self._read("beat")
            self._over.wait(self._interval * _INTERVALS)
            after, ended = self._read("beat"), self._read("end")
        except dist.DistError as error:
            host = os.environ.get("MASTER_ADDR", "its machine")
            return f"rank 0 on {host} is gone ({_first_line(error)})"
        others = [rank for rank in range(self._size) if rank != self._rank]
        silent = [r for r in others if r not in ended and before.get(r) == after.get(r)]
        if silent:
            return "; ".join(_silent(rank, after.get(rank)) for rank in silent)
        causes = [rank for rank in ended if rank != self._rank and _MISSED_PEER not in ended[rank]]
        if causes:
            return "; ".join(_ended(rank, ended[rank]) for rank in causes)
        last = min(others, key=lambda rank: int(after[rank].split()[1]))
        _, step, host = after[last].split(maxsplit=2)
        return (
            f"rank {last} on {host} is alive, at step {step}, but did not come within "
            f"{self._timeout} s; if it only needs more time, raise --train.timeout"
        )

    def _read(self, kind: str) -> dict[int, str]:
        """Return the last note of each rank that left one."""
        names = {rank: f"{kind}{rank}" for rank in range(self._size)}
        return {
            rank: self._store.get(name).decode()
            for rank, name in names.items()
            if self._store.check([name])
        }


_MISSED_PEER = "missed another rank"


@contextmanager
def monitored(beat: Heartbeat, pulse: Pulse) -> Iterator[None]:
    """Run communication. Raises RankLost, naming the failed peer."""
    try:
        yield
    except Exception as error:
        if not of_a_peer(error):
            beat.tell(f"{type(error).__name__}: {_first_line(error)}")
            raise
        beat.tell(_MISSED_PEER)
        raise RankLost(lost(pulse, beat.explain())) from error
    else:
        beat.leave()
    finally:
        beat.close()


def lost(pulse: Pulse, why: str) -> str:
    """Return the error line: step, reason, remedy."""
    return (
        f"step {pulse.step}: {why}; a save in progress was discarded; after fixing this, continue "
        "with --resume auto"
    )


def open_heartbeat(nonce: str, rank: int, size: int, timeout: int, pulse: Pulse) -> Heartbeat:
    """Open a separate connection to the ranks' store. `nonce`: the same on all ranks."""
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=timeout),
    )
    return Heartbeat(PrefixStore(f"homerec/{nonce}", store), rank, size, timeout, pulse)


def of_a_peer(error: BaseException | None) -> bool:
    """Whether the error was caused by another rank or the connection to it."""
    while error is not None:
        if isinstance(error, dist.DistError):
            return True
        if isinstance(error, RuntimeError) and _OF_GLOO.search(str(error)):
            return True
        error = error.__cause__
    return False


def _silent(rank: int, note: str | None) -> str:
    if note is None:
        return f"rank {rank} never started"
    _, step, host = note.split(maxsplit=2)
    return f"rank {rank} on {host} does not answer (its last word was from step {step})"


def _ended(rank: int, note: str) -> str:
    host, reason = note.split(maxsplit=1)
    return f"rank {rank} on {host} ended with {reason}"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
