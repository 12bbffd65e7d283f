"""Reports errors in the inputs and output files of a plan, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.io.errors import UserError


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the planner's ValueErrors, which are one line about its input, into UserErrors."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error


def check_folder(out: Path | None, option: str = "--out") -> None:
    """Before the search, not after it."""
    if out is not None and not out.parent.is_dir():
        raise UserError(f"{out}: no folder {out.parent}; create it, or give another with {option}")
    if out is not None and out.is_dir():
        raise UserError(f"{out}: is a folder; give a file with {option}")
