"""Claims the folder of a run, study or search; replaces only folders that homerec created."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.io import set_aside
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderKind:
    """A kind of folder."""

    name: str
    """'run', 'study', 'search'."""
    mark: str
    """The file that marks the folder; written last by a start."""
    is_leftover: Callable[[Path], bool]
    """Whether a file is from a start that ended before writing the mark."""
    check: Callable[[Path], object] | None
    """Raises UserError unless homerec created the folder to replace. None: no --overwrite."""
    has_saved: Callable[[Path], bool] = lambda out: False
    """Whether the run in the folder has saved anything, so that the replaced one can be deleted."""
    is_ours: set_aside.IsOurs = lambda name: False
    """Whether an entry of a folder outside is replaced, too."""


def claim(
    out: Path,
    kind: FolderKind,
    *,
    resume: bool = False,
    overwrite: bool = False,
    state: str = "",
    outside: Sequence[AnyPath] = (),
) -> set_aside.Replaced | None:
    """Claim the folder; with `overwrite`, empty it. `state`: progress of its content.

    Returns the replaced content of the folder and of `outside`; None if there was none.

    Raises UserError if its content is not ours or would be lost, or if it cannot be created.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder for the {kind.name} with --out")
    used = (out / kind.mark).exists()
    if used and overwrite and kind.check is not None:
        kind.check(out)
    elif not resume and set_aside.is_pending(out):
        raise UserError(
            f"{out}: contains a {kind.name} that replaces another one and has saved nothing yet; "
            "pass --resume or --overwrite to return to the other one, or another --out"
        )
    elif used and not resume:
        replaces = "--overwrite to replace it, " if kind.check is not None else ""
        raise UserError(
            f"{out}: contains a {kind.name}{state}; pass --resume to continue it, {replaces}or "
            "another --out"
        )
    elif not used and out.is_dir() and not all(map(kind.is_leftover, out.iterdir())):
        raise UserError(
            f"{out}: is not empty and not a {kind.name} (no {kind.mark}); give another folder "
            "with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be created: {error.strerror}") from error
    if not overwrite or not (used or outside):
        return None
    replaced = set_aside.Replaced(out, outside, kind.is_ours)
    replaced.set_aside()
    return replaced


def recover(out: Path, kind: FolderKind) -> None:
    """Finish a replacement by a process that was killed."""
    set_aside.recover(out, kind.is_ours, kind.has_saved)
