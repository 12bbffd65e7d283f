"""Keeps a replaced run or study until the new one has saved something.

    OUT/.replaced.json         journal: id, folders, and whether all of it is moved
    OUT/.replaced/             the previous content of OUT
    CHECKPOINTS/.replaced/     the checkpoints, if they are not in a plain folder of OUT
    OUT/failed-start/          files of a start that saved nothing

`set_aside` moves the old one there, `discard` deletes it, `put_back` restores it. Each may be
killed at any time: `recover` completes it at the next start. Entries are renamed, which preserves
links and mounts; a store copies them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import with_config
from typing_extensions import TypedDict

from pipeline.io.errors import UserError
from pipeline.io.files import has_file, write_json
from pipeline.io.restarts import is_same_job
from pipeline.io.storage import AnyPath, children, move, open_folder, remove_tree
from pipeline.io.typed_json import CLOSED, Count, read_typed

SAVED = "saved.json"
"""File in the run folder with its newest checkpoint, written after each save."""
FAILED = "failed-start"
LOCK = "lock"
"""Lock file of the process that runs a study or search; not moved."""

ASIDE = ".replaced"
_JOURNAL = ".replaced.json"
_PARTIAL = f".{_JOURNAL}.partial"  # a kill in writing the journal leaves it
# Written last to a checkpoint: without it a checkpoint in a store is incomplete.
_LAST = "manifest.json"


@with_config(CLOSED)
class SavedFile(TypedDict):
    """saved.json."""

    step: Count
    folder: str
    job: dict[str, str]


@with_config(CLOSED)
class _Journal(TypedDict):
    id: str
    outside: list[str]
    complete: bool


IsOurs = Callable[[str], bool]
"""Whether an entry of a folder outside OUT is replaced, by its name."""


class Replaced:
    """Replaced content of `out` and of folders outside it. After a later `set_aside` by another
    process, the methods of this one do nothing."""

    def __init__(
        self, out: Path, outside: Sequence[AnyPath], is_ours: IsOurs, id_: str | None = None
    ) -> None:
        """`id_`: that of the journal, to complete its work; None: a new one."""
        self._out = out
        self._outside = outside
        self._is_ours = is_ours
        self._id = id_ or uuid.uuid4().hex

    def set_aside(self) -> None:
        """Move the content. On an error or a signal, everything is moved back."""
        remove_tree(self._out / FAILED, missing_ok=True)
        self._note(complete=False)
        try:
            for folder in (*self._outside, self._out):
                entries = self._entries(folder)
                if entries:
                    (folder / ASIDE).mkdir(exist_ok=True)
                for entry in entries:
                    move(entry, folder / ASIDE, last=_LAST)
            self._note(complete=True)
        except BaseException:
            self.put_back()
            raise

    def discard(self) -> None:
        """Delete the replaced content."""
        if self._is_current():
            for folder in (*self._outside, self._out):
                remove_tree(folder / ASIDE, missing_ok=True)
            _end(self._out)

    def put_back(self) -> bool:
        """Restore it, and move files of the new run to OUT/failed-start. False if not needed."""
        if not self._is_current():
            return False
        for folder in self._outside:
            self._check_there(folder)
        if _journal(self._out)["complete"]:
            for folder in self._outside:
                for entry in self._entries(folder):
                    remove_tree(entry)
            failed = self._out / FAILED
            failed.mkdir(exist_ok=True)
            for entry in self._entries(self._out):
                move(entry, failed, last=_LAST)
            try:
                self._note(complete=False)
            except OSError:  # the disk is full, also of these files
                remove_tree(failed)
                self._note(complete=False)
        for folder in (*self._outside, self._out):
            aside = folder / ASIDE
            for entry in list(children(aside)) if aside.is_dir() else []:
                _move_back(entry, folder)
            remove_tree(aside, missing_ok=True)
        _end(self._out)
        return True

    def _entries(self, folder: AnyPath) -> list[AnyPath]:
        """Return the entries to move out of `folder`."""
        if folder != self._out:
            found = list(children(folder)) if folder.is_dir() else []
            return [entry for entry in found if self._is_ours(entry.name)]
        stay = {ASIDE, _JOURNAL, _PARTIAL, FAILED, LOCK}
        here = self._out.resolve()
        stay |= {path.name for path in self._outside if _parent(path) == here}
        return [entry for entry in self._out.iterdir() if entry.name not in stay]

    def _check_there(self, folder: AnyPath) -> None:
        """Raise UserError if a disk with replaced checkpoints is not mounted."""
        if not (folder / ASIDE).is_dir() and not self._entries(folder):
            raise UserError(
                f"{folder}: is empty, but checkpoints of the run in {self._out} were set aside "
                "there; restore them (is a disk not mounted?)"
            )

    def _note(self, *, complete: bool) -> None:
        folders = [str(folder) for folder in self._outside]
        journal = {"id": self._id, "outside": folders, "complete": complete}
        write_json(self._out / _JOURNAL, journal)

    def _is_current(self) -> bool:
        return is_pending(self._out) and _journal(self._out)["id"] == self._id


def is_pending(out: Path) -> bool:
    """Whether content of `out` is set aside, possibly by a killed process."""
    return has_file(out / _JOURNAL)


def recover(out: Path, is_ours: IsOurs, has_saved: Callable[[Path], bool]) -> None:
    """Complete the work of a killed process: discard the old content if the new run has saved
    something, else restore it."""
    if not is_pending(out):
        (out / _PARTIAL).unlink(missing_ok=True)
        return
    journal = _journal(out)
    outside = [open_folder(address) for address in journal["outside"]]
    found = Replaced(out, outside, is_ours, journal["id"])
    if journal["complete"] and has_saved(out):
        found.discard()
    else:
        found.put_back()


def standing(out: Path) -> Path:
    """Return the folder with the config.json of the run in `out`, ignoring a new run that has saved
    nothing yet."""
    old = out / ASIDE
    if not is_pending(out) or (_journal(out)["complete"] and (out / SAVED).exists()):
        return out
    return old if (old / "config.json").is_file() else out


def where_instead(folder: AnyPath) -> str:
    """Return a hint for an error about a missing run: where the one is that it replaces; or ''."""
    old = folder / ASIDE
    return f"; the run that it replaces is in {old}" if old.is_dir() else ""


def saved_by_this_job(out: Path) -> bool:
    """Whether the run in `out` has saved in an earlier start of this job."""
    if standing(out) != out or not has_file(out / SAVED):
        return False
    remedy = "remove it to replace the run"
    return is_same_job(read_typed(out / SAVED, SavedFile, remedy=remedy)["job"])


def _journal(out: Path) -> dict[str, Any]:
    remedy = f"move what is in {out / ASIDE} back, then remove this file"
    journal: dict[str, Any] = read_typed(out / _JOURNAL, _Journal, remedy=remedy)
    return journal


def _end(out: Path) -> None:
    (out / _PARTIAL).unlink(missing_ok=True)
    (out / _JOURNAL).unlink()


def _parent(path: AnyPath) -> Path | None:
    return path.parent.resolve() if isinstance(path, Path) else None


def _move_back(entry: AnyPath, folder: AnyPath) -> None:
    """Complete an interrupted copy: one of the two places has all files."""
    place = folder / entry.name
    if place.is_file() or (place / _LAST).is_file():
        remove_tree(entry)
    else:
        remove_tree(place, missing_ok=True)
        move(entry, folder, last=_LAST)
