"""torchrun's rendezvous, polled from a thread, so that no agent outlives its job.

torchrun polls the rendezvous store in the loop that monitors its ranks, and closes it at the end.
If the link is cut, neither call returns (torch 2.13: reads from a TCPStore have no timeout), so an
agent would outlive its ranks, and an agent with frozen ranks would not notice that the others have
ended the job.
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
"""Seconds that ranks get to exit after the job has ended elsewhere; default of --rdzv_conf
patience=S."""

_ASK_EVERY_S = 0.5
_LEAVE_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 90.0  # longer than the timeout of the store, if it has one (60)
_SILENT = ("timeout", "timed out")


class RendezvousEnded(RendezvousError):
    """The job ended on the other nodes, but ranks here did not exit. The message is one line."""


class MonitoredRendezvousHandler(RendezvousHandler):
    """torchrun's c10d rendezvous, polled from a separate thread.

    If the store does not answer, the handler does nothing: the link may recover, and the ranks have
    their own timeout (train.timeout). If the store is closed or its process is gone, the job has
    ended: RendezvousEnded is raised if ranks here still run `patience` seconds later.
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
        """Return the last answer of the store without waiting. Raises RendezvousEnded."""
        if self._over:
            since, what = self._over
            if time.monotonic() - since > self._patience:
                raise RendezvousEnded(
                    f"{what}, and ranks here did not exit within {self._patience:g} s"
                )
        return self._waiting

    def shutdown(self) -> bool:
        """Close the rendezvous for all nodes. Returns False if the store did not answer in time."""
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
