"""Writes metrics.jsonl and TensorBoard events, and shows progress."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import with_config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from typing_extensions import TypedDict

from pipeline.io.errors import UserError
from pipeline.io.files import has_file, line_text
from pipeline.io.typed_json import OPEN, Count, parse_typed
from pipeline.tracking.progress_line import duration_text, progress_line, speed_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Seconds between two progress lines in a log.
_SECONDS_BETWEEN_LINES = 2.0


class Tracker:
    """Created on every rank; writes on rank 0 and does nothing on the others.

    Writes to `folder`: metrics.jsonl, one line per call with "kind", "step", "time" (Unix seconds)
    and the values, null if not finite; and tensorboard/, the same as scalars. A run resumed from
    step N first drops lines after N.
    """

    def __init__(self, folder: Path, *, rank: int, total_steps: int, resume_step: int = 0) -> None:
        self._outputs = None
        if rank == 0:
            self._outputs = _Outputs(folder, total_steps, resume_step)

    def log(self, step: int, values: Mapping[str, float], kind: str = "train") -> None:
        """Log values by name ('loss/click', 'samples_per_s') after `step`."""
        if self._outputs:
            self._outputs.write(step, {"kind": kind}, values, tag=kind)

    def log_results(
        self, step: int, results: Mapping[str, Mapping[str, Any]], *, split: str
    ) -> None:
        """Log metrics of an evaluation by task, as 'TASK/METRIC'."""
        values = {
            f"{task}/{name}": value
            for task, metrics in results.items()
            for name, value in metrics.items()
        }
        if self._outputs:
            self._outputs.write(step, {"kind": "eval", "split": split}, values, tag=split)

    def progress(self, step: int, *, samples_per_s: float, loss: float) -> None:
        """Show progress: a bar on a terminal, else a line every 2 s and at the end."""
        if self._outputs:
            self._outputs.show(step, samples_per_s, loss)

    def extend(self, total_steps: int) -> None:
        """Set the last step that is shown, for a run whose end moves on."""
        if self._outputs:
            self._outputs.extend(total_steps)

    def close(self) -> None:
        if self._outputs:
            self._outputs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Outputs:
    """Rank 0's open files and bar."""

    def __init__(self, folder: Path, total_steps: int, resume_step: int) -> None:
        # Slow to import, and used only on rank 0.
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        drop_after(path, resume_step)
        self._lines = path.open("a", encoding="utf-8")
        self._scalars: SummaryWriter = SummaryWriter(
            _utf8_name(folder / "tensorboard"), purge_step=resume_step + 1
        )
        self._total = total_steps
        self._first = resume_step
        self._start = time.monotonic()
        self._last_line = -math.inf
        self._bar = _bar() if sys.stdout.isatty() else None
        if self._bar:
            self._row = self._bar.add_task(
                "train", total=total_steps, completed=resume_step, speed="-", loss="-", eta="-"
            )
            self._bar.start()
            # Restores the terminal's cursor, however the process ends.
            weakref.finalize(self, self._bar.stop)

    def write(
        self,
        step: int,
        head: Mapping[str, str],
        values: Mapping[str, float | None],
        *,
        tag: str,
    ) -> None:
        finite = {name: value if _finite(value) else None for name, value in values.items()}
        record = {**head, "step": step, "time": round(time.time(), 3), **finite}
        self._lines.write(json.dumps(record, allow_nan=False) + "\n")
        self._lines.flush()
        with _missing_folder():
            for name, value in finite.items():
                if value is not None:
                    self._scalars.add_scalar(f"{tag}/{name}", value, step)

    def extend(self, total_steps: int) -> None:
        self._total = total_steps
        if self._bar:
            self._bar.update(self._row, total=total_steps)

    def show(self, step: int, samples_per_s: float, loss: float) -> None:
        elapsed = time.monotonic() - self._start
        eta = elapsed / max(1, step - self._first) * (self._total - step)
        if self._bar:
            self._bar.update(
                self._row,
                completed=step,
                speed=speed_text(samples_per_s),
                loss=f"{loss:.4f}",
                eta=duration_text(eta),
            )
        elif step == self._total or elapsed - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = elapsed
            line = progress_line(
                "train", step, self._total, samples_per_s=samples_per_s, loss=loss, eta_s=eta
            )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
        self._lines.close()
        with _missing_folder():
            self._scalars.close()


@contextmanager
def _missing_folder() -> Iterator[None]:
    """Raise UserError if TensorBoard, which opens its file at each flush, finds it gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(
            f"{os.fsdecode(error.filename)}: is gone, so this run stops: its folder was moved or "
            "removed, or another run was started there with --overwrite"
        ) from error


@with_config(OPEN)
class _Logged(TypedDict):
    """A line of metrics.jsonl."""

    step: Count


def drop_after(path: Path, step: int) -> None:
    """Rewrite a metrics.jsonl atomically without the lines of later steps.

    Also drops a last line that was truncated by a crash.
    """
    if not has_file(path):
        return
    partial = path.with_name(f".{path.name}.partial")
    with path.open("rb") as lines, partial.open("wb") as kept:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            where, remedy = f"{path}: line {number}", "remove it, then resume"
            try:
                text = line_text(line, where=where, first=number == 1, remedy=remedy)
                found = parse_typed(text, _Logged, where=where, remedy=remedy)
            except UserError:
                partial.unlink()
                raise
            if found["step"] <= step:
                kept.write(text.encode())
    partial.replace(path)


def _utf8_name(folder: Path) -> str:
    """Return a path for TensorBoard, which encodes names as UTF-8 in every locale."""
    name = str(folder)
    if os.fsencode(name) == name.encode():
        return name
    folder.mkdir(exist_ok=True)
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"  # until this process ends


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps  {task.fields[speed]} samples/s"),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("eta {task.fields[eta]}"),
    )
