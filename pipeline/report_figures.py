"""The charts of a report, as plotly figures. The page adds colours of text and grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pipeline.report_files import RunFiles

# Okabe and Ito's colours, told apart by colour-blind readers, without black and pale yellow:
# these are seen on white and on black. Then again with another dash.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#9A8B00")
_DASHES = ("solid", "dash", "dot")
_SYMBOLS = {"val": "diamond", "test": "square"}

# More points than a screen has columns are drawn and downloaded for nothing.
_MOST_POINTS = 2_000

Points = tuple[Sequence[int], Sequence[float | None]]


def loss_by_task(run: RunFiles) -> go.Figure:
    figure = _curves("loss (nats)")
    if len(run.tasks) > 1:
        _line(figure, "total", run.points("loss/total"), "#888888", "solid")
    for index, task in enumerate(run.tasks):
        _line(figure, task, run.points(f"loss/{task}"), *_style(index))
    return figure


def figure_by_task(run: RunFiles, name: str, axis: str) -> go.Figure:
    """TASK/name: lines for the window in training, markers for evaluations."""
    figure = _curves(axis)
    for index, task in enumerate(run.tasks):
        colour, dash = _style(index)
        points = run.points(f"{task}/{name}")
        _line(figure, task, points, colour, dash)
        for split, (steps, values) in run.eval_points(f"{task}/{name}").items():
            figure.add_scatter(
                x=list(steps),
                y=list(values),
                name=f"{task} ({split})",
                legendgroup=task,
                showlegend=not points[0],
                mode="markers" if points[0] else "lines+markers",
                line={"color": colour, "dash": dash, "width": 1},
                marker={"color": colour, "size": 9, "symbol": _SYMBOLS.get(split, "circle")},
            )
    return figure


def learning_rates(run: RunFiles) -> go.Figure:
    figure = _curves("learning rate")
    for index, name in enumerate(("dense", "sparse")):
        _line(figure, name, run.points(f"lr/{name}"), *_style(index))
    figure.update_yaxes(exponentformat="power", rangemode="tozero")
    return figure


def speed(run: RunFiles) -> go.Figure:
    figure = _curves("samples a second")
    _line(figure, "samples a second", run.points("samples_per_s"), *_style(0))
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False)
    return figure


def megabytes_by_rank(tables: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What the tables' weights take on each rank: shards where they lie, copies on every rank."""
    sizes: dict[int, float] = {}
    for table in tables:
        for rank, size in bytes_by_rank(table).items():
            sizes[rank] = sizes.get(rank, 0) + size
    ranks = sorted(sizes)
    figure = _base()
    figure.add_bar(
        x=[f"rank {rank}" for rank in ranks],
        y=[sizes[rank] / 1e6 for rank in ranks],
        marker_color=COLOURS[0],
    )
    figure.update_layout(showlegend=False, bargap=0.4)
    figure.update_yaxes(title="weights (MB)", rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure


def bytes_by_rank(table: Mapping[str, Any]) -> dict[int, float]:
    """Of one table of plan.json."""
    if table.get("shards"):
        sizes: dict[int, float] = {}
        for shard in table["shards"]:
            sizes[shard["rank"]] = sizes.get(shard["rank"], 0) + shard["bytes"]
        return sizes
    ranks = table["ranks"]
    copies = table["sharding_type"] == "data_parallel"
    return {rank: table["bytes"] if copies else table["bytes"] / len(ranks) for rank in ranks}


def expert_bars(experts: Mapping[str, Mapping[str, float]], name: str, axis: str) -> go.Figure:
    """One bar an expert, the first on top."""
    figure = _base()
    figure.add_bar(
        x=[figures[name] for figures in experts.values()],
        y=list(experts),
        orientation="h",
        marker_color=COLOURS[0],
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )
    figure.update_layout(showlegend=False, height=80 + 24 * len(experts), hovermode="closest")
    figure.update_xaxes(title=axis, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _base() -> go.Figure:
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": 320,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {"automargin": True},
            "yaxis": {"automargin": True},
            "legend": {"orientation": "h", "y": -0.25, "yanchor": "top"},
        }
    )


def _curves(axis: str) -> go.Figure:
    figure = _base()
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(title="step", tickformat=",d")
    figure.update_yaxes(title=axis)
    return figure


def _line(figure: go.Figure, name: str, points: Points, colour: str, dash: str) -> None:
    steps, values = points
    if not steps:
        return
    every = -(-len(steps) // _MOST_POINTS)
    # From the end: the last point is the one that counts.
    figure.add_scatter(
        x=list(steps[::-1][::every][::-1]),
        y=list(values[::-1][::every][::-1]),
        name=name,
        legendgroup=name,
        # A single point makes no line.
        mode="lines" if len(steps) > 1 else "markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"color": colour},
    )


def _style(index: int) -> tuple[str, str]:
    round_, place = divmod(index, len(COLOURS))
    return COLOURS[place], _DASHES[round_ % len(_DASHES)]
