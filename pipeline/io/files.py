"""Reads and atomically writes small files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from embeddings.regular_file import other_than_file
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath


def write_text(path: AnyPath, text: str) -> None:
    """Replace a file atomically: after a crash it has the old or the new content."""
    if not isinstance(path, Path):
        path.fs.pipe_file(path.path, text.encode())  # a store writes files atomically
        return
    check_no_other(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # opening a pipe would wait
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # for example, a full disk
        partial.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # a write knows no name
        raise
    partial.replace(path)


def has_file(path: AnyPath) -> bool:
    """Whether there is a file. Raises UserError if something else is in its place."""
    check_no_other(path)
    return path.is_file()


def check_no_other(path: AnyPath) -> None:
    """Raise UserError for a folder, pipe, socket or device, which is no file to read or replace."""
    if isinstance(path, Path) and (found := other_than_file(path)):
        raise UserError(f"{path}: is {found}, not a file; remove it, or name a file")


def read_text(path: AnyPath, *, remedy: str) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises UserError, ending with `remedy`, with the line of the first byte that is not UTF-8; or if
    it is no file.
    """
    check_no_other(path)
    try:
        data: bytes = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise UserError(f"{path}: line {line}: not UTF-8: {byte}; {remedy}") from error


def line_text(line: bytes, *, where: str, first: bool, remedy: str) -> str:
    """Return the text of a line of a UTF-8 file; the `first` may start with a byte order mark.

    Raises UserError, starting with `where` and ending with `remedy`.
    """
    try:
        return line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x}"
        raise UserError(f"{where}: not UTF-8: {byte}; {remedy}") from error


def write_json(path: AnyPath, value: Any) -> None:
    """Like `write_text`. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
