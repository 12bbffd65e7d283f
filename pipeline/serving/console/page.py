"""The console: one page that asks its own server and nobody else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from pipeline.report.style import STYLE

_FOLDER = files("pipeline.serving.console")


@cache
def page() -> tuple[bytes, str]:
    """Return the page, and the Content-Security-Policy that it is sent with."""
    script, style = _text("console.js"), STYLE + _text("console.css")
    text = _text("console.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text.encode(), policy


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
