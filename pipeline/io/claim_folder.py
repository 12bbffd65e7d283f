"""The folder of a run, a study or a search, made ours: only what one of ours left is ever taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.io.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
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


def claim(
    out: Path, kind: Kind, *, resume: bool = False, overwrite: bool = False, state: str = ""
) -> None:
    """Make the folder ours; with `overwrite`, empty. `state`: how far what it holds has come.

    UserError if what is in it is another's, or would be lost, or if it cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder for the {kind.name} with --out")
    used = (out / kind.mark).exists()
    if used and overwrite and kind.check is not None:
        kind.check(out)
        shutil.rmtree(out)
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
