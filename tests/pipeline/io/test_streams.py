from __future__ import annotations

import io
import sys

import pytest

from pipeline.io.streams import escape_unencodable_output


@pytest.mark.parametrize(
    ("encoding", "asked", "written"),
    [
        ("latin-1", None, "é \\u4e2d\\u2026 \\udcff".encode("latin-1")),
        ("gb18030", None, "é 中… \\udcff".encode("gb18030")),
        ("ascii", "utf-8", "é 中… \\udcff".encode()),
    ],
)
def test_what_a_stream_cannot_encode_is_escaped(
    encoding: str, asked: str | None, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(got, encoding=encoding))
    escape_unencodable_output(asked)
    sys.stdout.write("é 中… \udcff")
    sys.stdout.flush()
    assert got.getvalue() == written
