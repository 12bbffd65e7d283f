"""The page as one file that needs no network and runs no scripts but the page's and plotly.js."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from embeddings.planner.plans.plan_file import PlanFile
from pipeline.io.json_types import Json
from pipeline.planning.page.comparison import comparison
from pipeline.planning.page.plan_view import PlanView
from pipeline.planning.page.rank_charts import (
    KIND_COLOURS,
    key,
    memory_charts,
    time_charts,
    time_stacks,
)
from pipeline.planning.page.sweep_file import SweepFile
from pipeline.planning.page.sweep_view import SweepView
from pipeline.planning.page.table_list import map_data, table_list
from pipeline.report.style import STYLE

# In the order in which they stand on the page: a script may use what stands before it.
_SCRIPTS = ("charts", "list", "map", "main")


def plan_page(
    title: str,
    plans: Sequence[tuple[str, PlanFile]],
    sweep: SweepFile | None = None,
    *,
    options: int,
) -> str:
    """HTML.

    `plans`: up to two with their names, the older one first. `options`: the number of tables of
    each plan, those that take the most time, that are shown with all their options.

    Raises ValueError for two plans of different tables.
    """
    folder = files("pipeline.planning.page")
    sources = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    script = "'use strict';\n(() => {\n" + "\n".join(sources) + "})();\n"
    scripts = [get_plotlyjs(), script]
    environment = Environment(
        loader=PackageLoader("pipeline.planning", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        # Names come from outside. Should one ever become markup, this keeps it from running and
        # from loading anything; plotly.js needs inline styles.
        policy="default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src "
        + " ".join(map(_digest, scripts)),
        title=title.encode("utf-8", "replace").decode(),
        style=Markup(STYLE + (folder / "page.css").read_text(encoding="utf-8")),
        infinity=math.inf,
        scripts=[Markup(text) for text in scripts],
        **page_content(plans, sweep, options=options),
    )


def page_content(
    plans: Sequence[tuple[str, PlanFile]], sweep: SweepFile | None, *, options: int
) -> Json:
    """What the template shows. Arguments as those of `plan_page`."""
    assert len(plans) <= 2
    views = [PlanView(name, file) for name, file in plans]
    return {
        "plans": [
            {
                "name": view.name,
                "facts": view.facts(),
                "rules": [rule.model_dump_json(exclude_defaults=True) for rule in view.file.rules],
                "list": table_list(view, np.argsort(-view.took, kind="stable").tolist(), options),
                "options": min(options, len(view.file.tables)),
            }
            for view in views
        ],
        "maps": [map_data(view) for view in views],
        "comparison": comparison(*views) if len(views) == 2 else None,
        "time": time_charts(views) if views else [],
        "time_key": list(dict.fromkeys(pair for view in views for pair in key(time_stacks(view)))),
        "memory": memory_charts(views),
        "memory_key": list(KIND_COLOURS.items()),
        "sweep": None if sweep is None else SweepView(sweep).content(),
    }


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
