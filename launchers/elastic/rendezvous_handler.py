"""torchrun's rendezvous, polled from a thread, so that no agent outlives its job.

torchrun polls the rendezvous store in the loop that watches its ranks, and says goodbye to it at
the end. Across a cut link neither call returns (torch 2.13: reading from a TCPStore has no time
limit), so an agent would outlive its ranks. And one whose ranks are frozen would never learn that
the others gave up.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from torch.distributed.elastic.rendezvous import (
    RendezvousConnectionError,
    RendezvousError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

BACKEND = "homerec"
"""Name of the backend: `torchrun --rdzv_backend homerec`, after `register`."""

PATIENCE_S = 60
"""Seconds that ranks get to end by themselves once the job is over elsewhere, unless
--rdzv_conf patience=S says otherwise."""

_ASK_EVERY_S = 0.5
_LEAVE_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 90.0  # longer than the store's own limit, where it has one (60)
_SILENT = ("timeout", "timed out")


class RendezvousEnded(RendezvousError):
    """The job is over on the other nodes, and ranks here did not end. The message is one line."""


class MonitoredRendezvousHandler(RendezvousHandler):
    """torchrun's c10d rendezvous, asked from a thread of its own.

    A store that does not answer is left to the ranks: they know how long to wait (train.timeout),
    and the link may come back. One that is closed, or whose process is gone, is the end of the job:
    RendezvousEnded where ranks here still run `patience` seconds later.
    """

    def __init__(self, inner: RendezvousHandler, place: str, patience: float) -> None:
        self._inner = inner
        self._place = place
        self._patience = patience
        self._asking = threading.Lock()
        self._left = threading.Event()
        self._monitor: threading.Thread | None = None
        self._waiting = 0
        self._over: tuple[float, str] | None = None

    def next_rendezvous(self) -> RendezvousInfo:
        """See torch. Raises RendezvousEnded if the store does not answer."""
        if not self._asking.acquire(timeout=_ANSWER_WITHIN_S):
            raise RendezvousEnded(f"the rendezvous store {self._place} does not answer")
        try:
            self._waiting, self._over = 0, None
            met = self._inner.next_rendezvous()
        finally:
            self._asking.release()
        if self._monitor is None:
            self._monitor = threading.Thread(
                target=self._poll_forever, daemon=True, name="rendezvous-poll"
            )
            self._monitor.start()
        return met

    def num_nodes_waiting(self) -> int:
        """As of the last answer, immediately. Raises RendezvousEnded; see the class."""
        if self._over:
            since, what = self._over
            if time.monotonic() - since > self._patience:
                raise RendezvousEnded(
                    f"{what}, and ranks here did not end within {self._patience:g} s"
                )
        return self._waiting

    def shutdown(self) -> bool:
        """Close the rendezvous for all nodes; False if the store did not answer in time."""
        self._left.set()
        done: list[bool] = []

        def close() -> None:
            with suppress(RendezvousError):  # the store is gone, and with it the job
                done.append(self._inner.shutdown())

        thread = threading.Thread(target=close, daemon=True, name="rendezvous-close")
        thread.start()
        thread.join(_LEAVE_WITHIN_S)
        return bool(done and done[0])

    def _poll_forever(self) -> None:
        while not self._left.wait(_ASK_EVERY_S):
            with self._asking:
                self._poll()

    def _poll(self) -> None:
        try:
            waiting, closed = self._inner.num_nodes_waiting(), self._inner.is_closed()
        except RendezvousConnectionError as error:
            if not any(word in str(error.__cause__).lower() for word in _SILENT):
                self._note_end(f"the rendezvous store {self._place} is gone")
            return
        self._waiting = waiting
        if closed:
            self._note_end("another machine ended the job")

    def _note_end(self, what: str) -> None:
        if self._over is None:
            self._over = time.monotonic(), what

    def get_backend(self) -> str:
        """See torch."""
        return BACKEND

    @property
    def use_agent_store(self) -> bool:
        """See torch."""
        return self._inner.use_agent_store

    def is_closed(self) -> bool:
        """See torch."""
        return self._inner.is_closed()

    def set_closed(self) -> None:
        """See torch."""
        self._inner.set_closed()  # type: ignore[no-untyped-call]

    def get_run_id(self) -> str:
        """See torch."""
        return self._inner.get_run_id()


def register() -> None:
    """Register the backend with torchrun in this process."""
    rendezvous_handler_registry.register(BACKEND, _create)


def _create(parameters: RendezvousParameters) -> MonitoredRendezvousHandler:
    backend, store = create_backend(parameters)
    patience: Any = parameters.get_as_int("patience", PATIENCE_S)
    return MonitoredRendezvousHandler(
        create_handler(store, backend, parameters), parameters.endpoint, patience
    )
