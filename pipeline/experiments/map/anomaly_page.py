"""Writes anomalies.html: three charts, one per anomaly, and the verdicts of expert health.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
from markupsafe import Markup
from rich.table import Table

from pipeline.experiments.map.summary import KINDS
from pipeline.expert_health.diagnosis import ALONE_LIMIT, TASK_SPECIFIC_LIMIT, ZERO_LIMIT
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.io.text_table import text_table
from pipeline.report.charts import base, literal
from pipeline.report.page import Cell, chart, charts, header, note, page, prose, section, table

PAGE = "anomalies.html"
_SICK, _WELL, _LIMIT = "#D55E00", "#009E73", "#8A939C"


class _Picture(NamedTuple):
    kind: str
    title: str
    value: str
    axis: str
    limit: float
    log: bool


_PICTURES = (
    _Picture(
        "collapse",
        "Collapse: the expert with the most zeros",
        "zeros",
        "share of its outputs that are zero",
        ZERO_LIMIT,
        False,
    ),
    _Picture(
        "degradation",
        "Degradation: the shared expert that one task uses most",
        "one_task",
        "share of one task in its gate weight",
        ALONE_LIMIT,
        False,
    ),
    _Picture(
        "underfitting",
        "Underfitting: the task that uses its own experts least",
        "specific",
        "weight of its own experts, relative to an even gate's",
        TASK_SPECIFIC_LIMIT,
        True,
    ),
)


def write_anomaly_page(out: Path, results: Sequence[Json]) -> Path:
    """Write `out`/anomalies.html atomically and return its path. At least one result."""
    text = (
        "One point per seed. Vermilion: expert health calls the tower sick of this anomaly; green: "
        "it does not. The line is the limit of the verdict; further ones (scale, dead and idle "
        "experts) have limits of their own, so a sick tower may be on the other side."
    )
    pictures = [chart(one.title, "", _draw(one, results)) for one in _PICTURES]
    body = (
        header("Anomalies on demand", "MMoE and CGC, HoME and its ablations", _verdicts(results)),
        section("Three pictures", note(text), charts(pictures, "wide")),
        section("Findings", prose(_findings(results))),
    )
    path = out / PAGE
    write_text(path, page("homerec: anomalies on demand", body))
    return path


def _draw(picture: _Picture, results: Sequence[Json]) -> go.Figure:
    towers = list(results[0]["towers"])
    drawn = base()
    for is_sick, color in ((True, _SICK), (False, _WELL)):
        points = [
            (result["towers"][tower][picture.value], tower, result["seed"])
            for result in results
            for tower in towers
            if (picture.kind in _kinds(result["towers"][tower])) == is_sick
        ]
        drawn.add_scatter(
            x=[value for value, _, _ in points],
            y=[literal(tower) for _, tower, _ in points],
            text=[f"seed {seed}" for _, _, seed in points],
            mode="markers",
            marker={"color": color, "size": 11, "opacity": 0.75},
            hovertemplate="%{y}, %{text}: %{x:.3g}<extra></extra>",
        )
    drawn.add_shape(
        type="line", x0=picture.limit, x1=picture.limit, y0=0, y1=1, yref="paper",
        line={"color": _LIMIT, "dash": "dash", "width": 2}, layer="below",
    )  # fmt: skip
    drawn.update_layout(height=110 + 30 * len(towers), hovermode="closest")
    drawn.update_xaxes(title=picture.axis)
    if picture.log:
        drawn.update_xaxes(type="log")
    drawn.update_yaxes(categoryorder="array", categoryarray=towers[::-1])
    return drawn


def _kinds(tower: Json) -> set[str]:
    return {finding["kind"] for finding in tower["findings"]}


def sick_seeds(results: Sequence[Json], tower: str, kind: str) -> int:
    """Return the number of seeds in which expert health finds the anomaly."""
    return sum(kind in _kinds(result["towers"][tower]) for result in results)


def _verdicts(results: Sequence[Json]) -> Markup:
    rows = [
        [Cell(tower), *(_count(sick_seeds(results, tower, kind), len(results)) for kind in KINDS)]
        for tower in results[0]["towers"]
    ]
    return table(["tower: seeds with", *KINDS], rows)


def _count(number: int, seeds: int) -> Cell:
    return Cell(f"{number} of {seeds}", float(number), number / seeds)


def _findings(results: Sequence[Json]) -> Markup:
    rows = [
        [Cell(tower), Cell(str(result["seed"])), Cell(finding["kind"]), Cell(finding["text"])]
        for result in results
        for tower, of in result["towers"].items()
        for finding in of["findings"]
    ]
    return table(["tower", "seed", "anomaly", "finding"], rows or [[Cell("none")] * 4])


def verdict_table(results: Sequence[Json]) -> Table:
    """Return the number of seeds with each anomaly, by tower."""
    view = text_table(f"Seeds with an anomaly, of {len(results)}", ["tower"], KINDS)
    for tower in results[0]["towers"]:
        view.add_row(tower, *(str(sick_seeds(results, tower, kind)) for kind in KINDS))
    return view
