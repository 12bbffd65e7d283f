"""The page of plans and sweeps: what its template shows, and its scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from markupsafe import Markup

from embeddings.planner.plans.plan_file import PlanFile
from pipeline.io.json_types import Json
from pipeline.planning.page.comparison import comparison
from pipeline.planning.page.plan_view import PlanView
from pipeline.planning.page.rank_charts import (
    KIND_COLORS,
    key,
    memory_charts,
    time_charts,
    time_stacks,
)
from pipeline.planning.page.sweep_file import SweepFile
from pipeline.planning.page.sweep_view import SweepView
from pipeline.planning.page.table_list import map_data, table_list
from pipeline.report.document import TEMPLATES, document

# In the order on the page: a script may use those before it.
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
    script = "\n".join(sources)
    body = TEMPLATES.get_template("planning/page/page.html").render(
        title=title, infinity=math.inf, **page_content(plans, sweep, options=options)
    )
    return document(title, Markup(body), script, (folder / "page.css").read_text(encoding="utf-8"))


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
                "summary": view.summary(),
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
        "memory_key": list(KIND_COLORS.items()),
        "sweep": None if sweep is None else SweepView(sweep).content(),
    }
