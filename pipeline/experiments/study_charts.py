"""The see-saw chart: one row per tower, one panel per task, each scaled to its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from pipeline.experiments.paired import ERRORS
from pipeline.experiments.study_findings import difference_text
from pipeline.io.json_types import Json
from pipeline.metrics.spec import MetricSpec
from pipeline.report.charts import base, literal

# Better, worse, inconclusive: Okabe and Ito's green and vermilion, and a gray for both themes.
COLORS = {"better": "#009E73", "worse": "#D55E00", "inconclusive": "#8A939C"}
_GAP = 0.025
PANELS = 6
"""Maximum number of tasks per chart."""


def see_saw(
    study: Json,
    metric: MetricSpec,
    tasks: Sequence[str],
    towers: Sequence[str],
    *,
    to: Literal["against", "home"],
    emphasized: str = "",
) -> go.Figure:
    """Return differences of `towers` to another one: a point, a thick bar of one standard error,
    and a thin bar of two. A difference is better or worse if its thin bar does not reach 0."""
    names = [
        f"<b>{literal(tower)}</b>" if tower == emphasized else literal(tower) for tower in towers
    ]
    drawn = base()
    drawn.update_layout(height=90 + 26 * len(towers), hovermode="closest")
    width = (1 + _GAP) / len(tasks)
    for index, task in enumerate(tasks):
        rows = [study["summary"][metric.name][task][tower][to] for tower in towers]
        colors = [COLORS[row["conclusion"]] for row in rows]
        axis = "" if index == 0 else str(index + 1)
        for tower, name, row, color in zip(towers, names, rows, colors, strict=True):
            if row["mean"] is not None:
                _point(drawn, f"x{axis}", name, row, color, literal(f"{tower}, {task}"))
        drawn.update_layout(
            {
                f"xaxis{axis}": {
                    "domain": [index * width, index * width + width - _GAP],
                    "anchor": "y",
                    "title": {"text": literal(task)},
                    "nticks": 3,
                    "tickfont": {"size": 9},
                    "tickangle": 0,
                    "tickformat": "+.3~f",
                    "zeroline": False,
                }
            }
        )
        drawn.add_shape(
            type="line", x0=0, x1=0, xref=f"x{axis}", y0=0, y1=1, yref="paper", line_width=1.5,
            line_color=COLORS["inconclusive"], layer="below",
        )  # fmt: skip
    drawn.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.4]
    )
    return drawn


def _point(drawn: go.Figure, axis: str, name: str, row: Json, color: str, title: str) -> None:
    common = {"x": [row["mean"]], "y": [name], "xaxis": axis, "mode": "markers"}
    if row["error"] is not None:
        drawn.add_scatter(
            **common,
            marker={"size": 1, "color": color},
            error_x={"array": [row["error"]], "thickness": 5, "width": 0, "color": color},
            hoverinfo="skip",
        )
    drawn.add_scatter(
        **common,
        marker={"size": 9, "color": color},
        error_x={
            "array": [ERRORS * (row["error"] or 0)], "thickness": 1.5, "width": 4, "color": color,
        },
        hovertemplate=f"{title}: {difference_text(row)}, {row['conclusion']}<extra></extra>",
    )  # fmt: skip
