"""Heat maps of a map, as Plotly figures. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from pipeline.experiments.map.dials import LOGARITHMIC, Dials, Grid
from pipeline.experiments.map.map_words import signed
from pipeline.io.json_types import Json
from pipeline.report.charts import base, literal

# Better is green and worse vermilion, as in a study; white text would vanish in the middle.
_SCALE = [[0.0, "#009E73"], [0.5, "#F2F2F2"], [1.0, "#D55E00"]]
_STAR = "#0072B2"
_ROW_PX = 62


def heat_map(
    grid: Grid, cells: Mapping[Dials, Json], limit: float, place: Mapping[str, float] | None
) -> go.Figure:
    """Return HoME minus best rival over two dials, with error and rival.

    Args:
        limit: the value of the strongest color.
        place: measured dials, marked by a star in the nearest cell.
    """
    rows = [[cells.get(grid.at(x, y)) for x in grid.xs] for y in grid.ys]
    xs, ys = [f"{x:,g}" for x in grid.xs], [f"{y:,g}" for y in grid.ys]
    drawn = base()
    drawn.add_heatmap(
        x=xs,
        y=ys,
        z=[[cell and cell["difference"]["mean"] for cell in row] for row in rows],
        text=[[_text(cell) for cell in row] for row in rows],
        texttemplate="%{text}",
        textfont={"color": "#1d2329", "size": 11},
        colorscale=_SCALE,
        zmin=-limit,
        zmax=limit,
        showscale=False,
        hovertemplate=f"{grid.x} %{{x}}, {grid.y} %{{y}}: %{{text}}<extra></extra>",
        xgap=2,
        ygap=2,
    )
    if place is not None and {grid.x, grid.y} <= place.keys():
        drawn.add_scatter(
            x=[xs[nearest_index(grid.x, grid.xs, place[grid.x])]],
            y=[ys[nearest_index(grid.y, grid.ys, place[grid.y])]],
            mode="markers",
            marker={"symbol": "star-open", "size": 44, "color": _STAR, "line": {"width": 2}},
            hovertemplate="your data<extra></extra>",
        )
    drawn.update_layout(height=70 + _ROW_PX * len(ys), hovermode="closest")
    drawn.update_xaxes(title=literal(grid.x), type="category", showgrid=False)
    drawn.update_yaxes(title=literal(grid.y), type="category", showgrid=False)
    return drawn


def _text(cell: Json | None) -> str:
    if cell is None:
        return ""
    found = signed(cell["difference"])
    if cell["difference"]["conclusion"] != "inconclusive":
        found = f"<b>{found}</b>"
    return f"{found}<br>{literal(cell['rival'])}"


def nearest_index(name: str, values: tuple[float, ...], value: float) -> int:
    """Return the index of the nearest value of a dial."""
    return min(range(len(values)), key=lambda i: distance(name, values[i], value))


def distance(name: str, a: float, b: float) -> float:
    """Return the distance of two values of a dial; by their ratio if its steps are factors."""
    return abs(math.log(a / b)) if name in LOGARITHMIC else abs(a - b)


def limit_of(cells: Mapping[Any, Json]) -> float:
    """Return the value of the strongest color: the 90th percentile of the differences' sizes."""
    sizes = sorted(abs(cell["difference"]["mean"]) for cell in cells.values())
    return max(sizes[int(0.9 * (len(sizes) - 1))], 1e-9) if sizes else 1.0


def by_dials(found: Json) -> dict[Dials, Json]:
    """Return the cells of map.json by their dials."""
    return {Dials(**cell["dials"]): cell for cell in found["cells"]}
