"""The page as one file that needs nothing from the net and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from embeddings.planner.plans.plan_file import PlanFile
from pipeline.planning.page.content import page_data
from pipeline.planning.page.sweep_file import SweepFile
from pipeline.report.style import STYLE

# In the order in which they stand on the page: a script may use what stands before it.
_SCRIPTS = ("base", "plan", "rows", "sheet", "canvas", "ranks", "bars", "map", "list", "compare",
            "sweep", "points", "main")  # fmt: skip


def plan_page(
    title: str,
    plans: Sequence[tuple[str, PlanFile]],
    sweep: SweepFile | None = None,
    *,
    options: int,
) -> str:
    """HTML. Arguments as those of `page_data`."""
    data = json.dumps(
        page_data(plans, sweep, options=options), allow_nan=False, separators=(",", ":")
    )
    data = data.replace("<", "\\u003c")  # '<' could end the script element
    folder = files("pipeline.planning.page")
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    script = "'use strict';\n(() => {\n" + "\n".join(parts) + "})();\n"
    style = STYLE + (folder / "page.css").read_text(encoding="utf-8")
    # Names of tables, features and files come from outside. They reach the document as text alone;
    # should one ever become markup, this keeps it from running and from loading anything.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}"
    )
    name = escape(title.encode("utf-8", "replace").decode())
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{name}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        '<link rel=icon href="data:,">'  # else a browser asks the server for one
        f"<style>{style}</style></head><body><main><h1>{name}</h1></main>"
        "<noscript>This page needs JavaScript; it loads nothing from the net.</noscript>"
        f'<script type="application/json" id=data>{data}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
