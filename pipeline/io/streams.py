"""Output to terminals and logs with any encoding."""

from __future__ import annotations

import io
import sys


def escape_unencodable_output(encoding: str | None = None) -> None:
    r"""Make stdout escape characters that its encoding lacks as \uXXXX, like stderr.

    Otherwise Python raises UnicodeEncodeError, and a name or a table's ellipsis would end a run.
    `encoding`: encoding of both streams; None: unchanged.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream.errors == "strict" else stream.errors
            stream.reconfigure(encoding=encoding, errors=errors)
