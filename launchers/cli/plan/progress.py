"""Prints the progress of a measurement, which takes minutes, to stderr."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.io.console import plain_console, print_line


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressPrinter:
    """Prints on rank 0 only."""

    is_first: bool
    rounds: int | None
    """Number of rounds; None: not known before the last one."""
    plans: int | None
    """Number of plans, after which there is a line; None: after every ten."""

    def on_progress(self, turn: int, done: int) -> None:
        if done == self.plans if self.plans else done % 10 == 0:
            of = f" of {self.rounds}" if self.rounds else ""
            self._print(f"round {turn + 1}{of}: {done} plans done")

    def on_retry(self, reason: str, more: int) -> None:
        self._print(f"{reason}; {more} more rounds")

    def _print(self, line: str) -> None:
        if self.is_first:
            print_line(plain_console(stderr=True), line)
