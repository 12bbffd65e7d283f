"""Where the agents of a job meet, watched so that none stays behind when the job is over.

torchrun asks the meeting place how many machines wait in the same loop that looks after its ranks,
and takes its leave of it at the end. Across a link that is cut neither returns (torch 2.13:
reading a TCPStore's answer has no time limit), so the agent outlives its ranks, unseen. And an
agent whose ranks are frozen never learns that the others gave up. This one asks in a thread.
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
"""Its name: `torchrun --rdzv_backend homerec`, after `register`."""

PATIENCE_S = 60
"""Seconds that ranks get to end by themselves once the job is over elsewhere, unless
--rdzv_conf patience=S says otherwise."""

_ASK_EVERY_S = 0.5
_LEAVE_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 90.0  # longer than the store's own limit, where it has one (60)
_SILENT = ("timeout", "timed out")


class MeetingOver(RendezvousError):
    """The others of the job are gone, and ranks here did not end by themselves. One line."""


class Meeting(RendezvousHandler):
    """torchrun's c10d rendezvous, asked from a thread of its own.

    A meeting place that does not answer is left to the ranks: they know how long to wait
    (train.timeout), and the link may come back. One that is closed, or whose process is gone, is
    the end of the job: MeetingOver where ranks here still run `patience` seconds later.
    """

    def __init__(self, inner: RendezvousHandler, place: str, patience: float) -> None:
        self._inner = inner
        self._place = place
        self._patience = patience
        self._asking = threading.Lock()
        self._left = threading.Event()
        self._watch: threading.Thread | None = None
        self._waiting = 0
        self._over: tuple[float, str] | None = None

    def next_rendezvous(self) -> RendezvousInfo:
        """Meet; see torch. MeetingOver if the place does not answer."""
        if not self._asking.acquire(timeout=_ANSWER_WITHIN_S):
            raise MeetingOver(f"{self._place}, where the machines meet, does not answer")
        try:
            self._waiting, self._over = 0, None
            met = self._inner.next_rendezvous()
        finally:
            self._asking.release()
        if self._watch is None:
            self._watch = threading.Thread(target=self._ask_on, daemon=True, name="meeting")
            self._watch.start()
        return met

    def num_nodes_waiting(self) -> int:
        """As of the last answer. At once. MeetingOver: see the class."""
        if self._over:
            since, what = self._over
            if time.monotonic() - since > self._patience:
                raise MeetingOver(f"{what}, and ranks here did not end within {self._patience:g} s")
        return self._waiting

    def shutdown(self) -> bool:
        """Close the meeting for all; False if that could not be said within a while."""
        self._left.set()
        done: list[bool] = []

        def close() -> None:
            with suppress(RendezvousError):  # the place is gone: nobody is left to be told
                done.append(self._inner.shutdown())

        thread = threading.Thread(target=close, daemon=True, name="meeting-end")
        thread.start()
        thread.join(_LEAVE_WITHIN_S)
        return bool(done and done[0])

    def _ask_on(self) -> None:
        while not self._left.wait(_ASK_EVERY_S):
            with self._asking:
                self._ask()

    def _ask(self) -> None:
        try:
            waiting, closed = self._inner.num_nodes_waiting(), self._inner.is_closed()
        except RendezvousConnectionError as error:
            if not any(word in str(error.__cause__).lower() for word in _SILENT):
                self._note_over(f"{self._place}, where the machines met, is gone")
            return
        self._waiting = waiting
        if closed:
            self._note_over("another machine ended the job")

    def _note_over(self, what: str) -> None:
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
    """Make it known to torchrun in this process."""
    rendezvous_handler_registry.register(BACKEND, _create)


def _create(parameters: RendezvousParameters) -> Meeting:
    backend, store = create_backend(parameters)
    patience: Any = parameters.get_as_int("patience", PATIENCE_S)
    return Meeting(create_handler(store, backend, parameters), parameters.endpoint, patience)
