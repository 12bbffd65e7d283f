"""A user's mistakes in what a plan is made from, and in where it goes, each as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.io.errors import UserError


@contextmanager
def user_errors() -> Iterator[None]:
    """The planner's ValueErrors, each one line about its input, as the user's mistakes."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error


def check_folder(out: Path | None, option: str = "--out") -> None:
    """Before the search, not after it."""
    if out is not None and not out.parent.is_dir():
        raise UserError(f"{out}: no folder {out.parent}; make it, or name another with {option}")
    if out is not None and out.is_dir():
        raise UserError(f"{out}: is a folder; name a file with {option}")
