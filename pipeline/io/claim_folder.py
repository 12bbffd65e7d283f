"""The folder of a run, a study or a search, made ours: only what one of ours left is ever taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.io import set_aside
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderKind:
    """What a folder may hold."""

    name: str
    """'run', 'study', 'search'."""
    mark: str
    """The file that says so, the last that a start writes."""
    is_leftover: Callable[[Path], bool]
    """Whether a file is one that a start left which ended before its mark was there."""
    check: Callable[[Path], object] | None
    """Raises UserError unless the folder, which is to be replaced, is one of ours. None: there is
    no --overwrite."""
    has_saved: Callable[[Path], bool] = lambda out: False
    """Whether the one in the folder has saved anything: what it replaced can go."""
    is_ours: set_aside.IsOurs = lambda name: False
    """Of an entry of a folder outside that one which is replaced along with it."""


def claim(
    out: Path,
    kind: FolderKind,
    *,
    resume: bool = False,
    overwrite: bool = False,
    state: str = "",
    outside: Sequence[AnyPath] = (),
) -> set_aside.Replaced | None:
    """Make the folder ours; with `overwrite`, empty. `state`: how far what it holds has come.

    Returns what was in it and in the folders `outside`, set aside; None if nothing was.

    UserError if what is in it is another's, or would be lost, or if it cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder for the {kind.name} with --out")
    used = (out / kind.mark).exists()
    if used and overwrite and kind.check is not None:
        kind.check(out)
    elif not resume and set_aside.is_pending(out):
        raise UserError(
            f"{out}: a {kind.name} that replaces another one has saved nothing here yet; --resume "
            "and --overwrite go back to the other one, --out names another folder"
        )
    elif used and not resume:
        replaces = "--overwrite replaces it, " if kind.check is not None else ""
        raise UserError(
            f"{out}: holds a {kind.name}{state}; --resume continues it, {replaces}--out names "
            "another folder"
        )
    elif not used and out.is_dir() and not all(map(kind.is_leftover, out.iterdir())):
        raise UserError(
            f"{out}: is not empty and holds no {kind.name} (no {kind.mark}); name another folder "
            "with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}") from error
    if not overwrite or not (used or outside):
        return None
    replaced = set_aside.Replaced(out, outside, kind.is_ours)
    replaced.set_aside()
    return replaced


def recover(out: Path, kind: FolderKind) -> None:
    """Finish what a process began that replaced something here and was killed."""
    set_aside.recover(out, kind.is_ours, kind.has_saved)
