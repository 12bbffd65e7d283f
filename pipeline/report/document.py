"""A page as one HTML file that needs no network and runs no script but its own and plotly.js.

plotly.js is the official bundle for Cartesian charts, gzipped; the page unpacks it. To renew it, as
a test asks for once the plotly package has another version:

    npm pack plotly.js-cartesian-dist-min@VERSION
    tar xzf plotly.js-cartesian-dist-min-VERSION.tgz
    gzip -9nc package/plotly-cartesian.min.js > pipeline/report/plotly-cartesian.min.js.gz
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.style import STYLE

TEMPLATES = Environment(
    loader=PackageLoader("pipeline", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FOLDER = files("pipeline.report")


def document(title: str, body: Markup, script: str, style: str = "") -> str:
    """`script` runs once plotly.js is there; `style` follows that of all pages."""
    packed, digest = plotly_bundle()
    frame = (_FOLDER / "document.js").read_text(encoding="utf-8")
    script = frame.replace("\nPAGE\n", f"\n{script}\n")
    page = TEMPLATES.get_template("report/document.html").render(
        policy=_policy(digest, _digest(script.encode())),
        title=title,
        style=Markup(STYLE + style),
        body=body,
        plotly=packed,
        script=Markup(script),
    )
    # A name from the file system need not be Unicode.
    return page.encode("utf-8", "replace").decode()


@cache
def plotly_bundle() -> tuple[str, str]:
    """plotly.js, gzipped, in base64; and the digest of its text."""
    packed = (_FOLDER / "plotly-cartesian.min.js.gz").read_bytes()
    return base64.b64encode(packed).decode(), _digest(gzip.decompress(packed))


def _policy(*scripts: str) -> str:
    """Names come from outside. Should one ever become markup, this keeps it from running and from
    loading anything; plotly.js needs inline styles."""
    allowed = " ".join(f"'sha256-{digest}'" for digest in scripts)
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
        f"style-src 'unsafe-inline'; script-src {allowed}"
    )


def _digest(text: bytes) -> str:
    return base64.b64encode(hashlib.sha256(text).digest()).decode()
