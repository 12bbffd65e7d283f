"""The batches of the current window, as a source for the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from embeddings.frozen import Frozen
from pipeline.data.batch import Batch
from pipeline.data.columns import Columns
from pipeline.data.stream.window import LogPosition, Window
from pipeline.data.stream.window_rows import WindowRows
from pipeline.io.errors import UserError
from pipeline.io.typed_json import Count, fault


class _State(Frozen):
    """A saved position."""

    follow: LogPosition
    """Before `window`."""
    windows: Count
    """Windows that have been trained."""
    window: Window | None
    """The window of which some rows have been trained."""
    rows: Count
    """Number of them, over all ranks, counting good rows only."""


class WindowBatches:
    """The batches of one rank of a window, for one pass."""

    def __init__(self, columns: Columns, window: WindowRows) -> None:
        self._columns = columns
        self._window = window

    def __iter__(self) -> Iterator[Batch]:
        for rows in self._window.batches:
            yield rows.batch(self._columns.keys, self._columns.multi)


class WindowSource:
    """Batches of one rank, of the window that `begin` sets. Implements BatchSource."""

    def __init__(self, columns: Columns, start: LogPosition, *, global_batch: int) -> None:
        """`start`: position of a new run; `global_batch`: rows per step."""
        self._columns = columns
        self._global_batch = global_batch
        self._state = _State(follow=start, windows=0, window=None, rows=0)
        self._current: WindowRows | None = None
        self._step = 0

    @property
    def position(self) -> LogPosition:
        """The position before the window that is being trained, or after the last one."""
        return self._state.follow

    @property
    def windows(self) -> int:
        """Windows that have been trained completely."""
        return self._state.windows

    @property
    def unfinished(self) -> Window | None:
        """The window of which a resumed run has yet to train the rest."""
        return self._state.window

    @property
    def steps_left(self) -> int:
        """Steps of the current window that are left; 0: without a window."""
        return 0 if self._current is None else len(self._current.batches) - self._step

    def begin(self, found: WindowRows) -> None:
        """Make this the current window; of a window that a resumed run has trained in part, the
        rest."""
        assert self.steps_left == 0
        unfinished = self._state.window
        assert unfinished in (None, found.window)
        done = self._state.rows if unfinished else 0
        if done % self._global_batch:
            raise UserError(
                f"train.batch_size: {done} rows of a window have been trained, not whole batches "
                f"of {self._global_batch} rows; resume with the batch size of before"
            )
        self._current = found
        self._step = done // self._global_batch
        self._state = self._state.model_copy(update={"window": found.window, "rows": done})
        self._finish()

    def scored(self) -> WindowBatches:
        """Return all batches of the current window, for an evaluation before it is trained."""
        assert self._current is not None
        return WindowBatches(self._columns, self._current)

    def __iter__(self) -> Iterator[Batch]:
        while self._current is not None and self.steps_left:
            rows = self._current.batches[self._step]
            self._step += 1
            self._finish()
            yield rows.batch(self._columns.keys, self._columns.multi)

    def _finish(self) -> None:
        """Move on to the position after the window if all of it has been yielded."""
        assert self._current is not None
        if self.steps_left == 0:
            after, windows = self._current.window.after, self._state.windows + 1
            self._state = _State(follow=after, windows=windows, window=None, rows=0)
            self._current = None
        else:
            rows = self._step * self._global_batch
            self._state = self._state.model_copy(update={"rows": rows})

    def state_dict(self) -> dict[str, Any]:
        """Return the position as JSON values, equal on every rank."""
        return self._state.model_dump(mode="json")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. A position in a prepared folder stands for the start: batch
        training comes first."""
        if "follow" not in state:
            return
        try:
            self._state = _State.model_validate(dict(state))
        except ValidationError as error:
            raise UserError(
                f"the checkpoint's position is not one: {fault(error)}; remove that checkpoint to "
                "resume from the previous one"
            ) from error

    def describe(self, ago: int) -> str:
        """Describe the window of a batch, for error messages."""
        window = self._state.window
        if window is None:
            return f"window {self._state.windows}, one of its last batches"
        files = ", ".join(
            f"{one.file} rows {one.first} to {one.first + one.rows - 1}" for one in window.slices
        )
        return f"window {window.number}, batch {self._step - ago}: {files}"
