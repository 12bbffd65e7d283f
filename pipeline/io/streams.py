"""Output to terminals and logs of any encoding."""

from __future__ import annotations

import io
import sys


def escape_unencodable_output(encoding: str | None = None) -> None:
    r"""From now on stdout shows a character that its encoding lacks as \uXXXX, as stderr does.

    Python would raise UnicodeEncodeError: a name, or a table's ellipsis, must not end a run.
    `encoding`: of both streams, where they are a file; None: the locale's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream.errors == "strict" else stream.errors
            stream.reconfigure(encoding=encoding, errors=errors)
