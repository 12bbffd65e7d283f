"""Cuts a folder to which files are added into windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import SourceFile
from pipeline.data.sources.formats import formats_of, open_readers
from pipeline.data.sources.resolve import resolve
from pipeline.data.stream.window import LogPosition, Slice, Window
from pipeline.io.errors import UserError

_BINARY = ("parquet", "arrow")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A complete file."""

    name: str
    size: int
    rows: int


class GrowingFolder:
    """The files of a folder or pattern. Files are taken in the order in which they become complete,
    those of one look by name; each is taken once, whenever it comes.

    A file is complete when two looks have found it with the same size, and a Parquet or Arrow file
    when it can also be opened.
    """

    def __init__(self, files: FilesConfig) -> None:
        self._files = files
        self._sizes: dict[str, int] = {}
        self._ready: dict[str, _Ready] = {}
        self._waiting: dict[str, str] = {}

    @property
    def waiting(self) -> dict[str, str]:
        """Files that cannot be opened yet, and why."""
        return self._waiting

    def look(self, position: LogPosition) -> None:
        """List the files. Raises UserError if a file that has been taken has changed, or one that
        has been taken in part is gone."""
        found = {file.name: file for file in resolve(self._files, may_be_empty=True)}
        taken = dict(position.done)
        if position.file is not None:
            taken[position.file] = position.size
            if position.file not in found:
                raise UserError(
                    f"{position.file}: is gone, but only {position.row} of its rows have been "
                    "trained; put it back"
                )
        for name, file in found.items():
            known = self._ready.get(name)
            size = taken.get(name, None if known is None else known.size)
            if size is not None and file.size != size:
                raise UserError(
                    f"{name}: has {file.size} bytes, not {size} as when it was read; write new "
                    "rows to new files, and restore this one"
                )
        for name, file in found.items():
            if name not in position.done and name not in self._ready:
                self._admit(file)
        self._sizes = {name: file.size for name, file in found.items()}
        for name in [name for name in self._ready if name not in found or name in position.done]:
            del self._ready[name]

    def _admit(self, file: SourceFile) -> None:
        """Note a file as complete if it is."""
        if self._sizes.get(file.name) != file.size or file.size == 0:
            return
        try:
            (reader,) = open_readers([file], self._files)
        except UserError as error:
            if formats_of([file], self._files.format)[0] not in _BINARY:
                raise
            self._waiting[file.name] = str(error)
            return
        self._waiting.pop(file.name, None)
        self._ready[file.name] = _Ready(file.name, file.size, sum(reader.rows()))

    def fetch(self, window: Window, path: Path) -> bool:
        """Return False: the rows are in files already."""
        return False

    def available(self, position: LogPosition) -> int:
        """Return the number of rows of complete files after `position`."""
        if position.file is not None and position.file not in self._ready:
            return 0  # the rest of this file comes first
        return sum(one.rows for one in self._open(position)) - position.row

    def _open(self, position: LogPosition) -> list[_Ready]:
        """Files with rows after `position`, in order."""
        files = [one for name, one in self._ready.items() if name not in position.done]
        return sorted(
            files, key=lambda one: one.name != position.file
        )  # stable: the open one first

    def take(self, position: LogPosition, rows: int, *, number: int) -> Window | None:
        """Return the window of the next `rows` rows; None if fewer are available."""
        available = self.available(position)
        if not 0 < rows <= available:
            return None
        slices = []
        left = rows
        done, row, late = dict(position.done), position.row, position.late_rows
        last = max(done, default="")
        at: _Ready | None = None
        for file in self._open(position):
            if left == 0:
                break
            if at is not None:
                done[at.name], row = at.size, 0
                last = max(last, at.name)
            at = file
            count = min(left, file.rows - row)
            if count:
                slices.append(Slice(file=file.name, size=file.size, first=row, rows=count))
            late += count if file.name < last else 0
            row += count
            left -= count
        assert at is not None
        is_done = row == at.rows
        if is_done:
            done[at.name] = at.size
        after = LogPosition(
            done=done,
            file=None if is_done else at.name,
            size=0 if is_done else at.size,
            row=0 if is_done else row,
            offsets=position.offsets,
            rows=position.rows + rows,
            late_rows=late,
        )
        return Window(number=number, slices=tuple(slices), after=after, lag_rows=available - rows)
