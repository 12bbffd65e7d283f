"""How a study stands, on the screen: a table that moves on a terminal, else a line an event."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launchers.experiments.run_pool import Running, Status
from launchers.local.console import say
from pipeline.experiments.study_run import Run
from pipeline.tracking.progress_line import duration_text

_BAR = 20


class Board:
    """`finished`: runs that were over before; `total`: of the whole study."""

    def __init__(self, console: Console, *, finished: int, total: int) -> None:
        self._console = console
        self._finished = finished
        self._total = total
        self._done_here = 0
        self._failed = 0
        self._start = time.monotonic()
        self._since: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.update(Text(), refresh=True)
            self._live.stop()

    def started(self, run: Run) -> None:
        self._since[run.name] = time.monotonic()
        if not self._live:
            self._say(f"{run.name}: started, log {run.log}")

    def ended(self, run: Run, status: Status, error: str | None) -> None:
        self._done_here += status == "done"
        self._failed += status == "failed"
        took = duration_text(time.monotonic() - self._since[run.name])
        how = f"failed: {error}" if error else status
        left = self._eta([])
        self._say(f"{run.name}: {how}, {took}" + (f", eta {left}" if left else ""))

    def tick(self, running: Sequence[Running]) -> None:
        if not self._live:
            return
        view = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for one in running:
            filled = round(_BAR * one.share)
            view.add_row(
                one.run.name,
                "#" * filled + "." * (_BAR - filled),
                f"{one.step}/{one.total} steps" if one.total else "starting",
                duration_text(now - one.since),
            )
        counts = f"done {self._over}/{self._total}, running {len(running)}"
        counts += f", failed {self._failed}" if self._failed else ""
        left = self._eta(running)
        self._live.update(Group(view, Text(counts + (f", eta {left}" if left else ""))))

    @property
    def _over(self) -> int:
        return self._finished + self._done_here

    def _eta(self, running: Sequence[Running]) -> str:
        """From the runs that ended here, and what is done of those under way."""
        made = self._done_here + self._failed + sum(one.share for one in running)
        left = self._total - self._finished - made
        if made < 0.2 or left <= 0:  # too early to tell
            return ""
        return duration_text((time.monotonic() - self._start) / made * left)

    def _say(self, text: str) -> None:
        width = len(str(self._total))
        say(self._console, f"[{self._over:>{width}}/{self._total}] {text}")
