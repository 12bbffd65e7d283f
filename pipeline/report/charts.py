"""Charts of a report, as Plotly figures. The page adds the colors of text and grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import plotly.graph_objects as go

from pipeline.report.run_files import RunFiles
from pipeline.report.series import Points

# Okabe and Ito's colors, told apart by color-blind readers, without black and pale yellow:
# these are seen on white and on black. Then again with another dash.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#9A8B00")
DASHES = ("solid", "dash", "dot")
LEARNING_RATES = ("dense", "sparse")
_SYMBOLS = {"val": "diamond", "test": "square"}


def literal(text: str) -> str:
    """Escape text for Plotly, which interprets names, labels and ticks as HTML."""
    return escape(text, quote=False)


def total_loss(run: RunFiles) -> go.Figure:
    figure = _curves("loss (nats)")
    _line(figure, "total", run.points("loss/total"), *style(0))
    return figure


def loss_by_task(run: RunFiles) -> go.Figure:
    figure = _curves("loss (nats)")
    for index, task in enumerate(run.tasks):
        _line(figure, task, run.points(f"loss/{task}"), *style(index))
    return figure


def metric_by_task(run: RunFiles, name: str, axis: str) -> go.Figure:
    """Return TASK/name: lines for the training window, markers for evaluations."""
    figure = _curves(axis)
    for index, task in enumerate(run.tasks):
        color, dash = style(index)
        points = run.points(f"{task}/{name}")
        _line(figure, task, points, color, dash)
        for split, (steps, values) in run.eval_points(f"{task}/{name}").items():
            figure.add_scatter(
                x=list(steps),
                y=list(values),
                name=literal(f"{task} ({split})"),
                mode="markers" if points[0] else "lines+markers",
                line={"color": color, "dash": dash, "width": 1},
                marker={"color": color, "size": 9, "symbol": _SYMBOLS.get(split, "circle")},
            )
    return figure


def learning_rates(run: RunFiles) -> go.Figure:
    figure = _curves("learning rate")
    for index, name in enumerate(LEARNING_RATES):
        _line(figure, name, run.points(f"lr/{name}"), *style(index))
    # The two differ by orders of magnitude.
    figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    return figure


def speed(run: RunFiles) -> go.Figure:
    figure = _curves("samples per second")
    _line(figure, "samples per second", run.points("samples_per_s"), *style(0))
    figure.update_yaxes(rangemode="tozero")
    return figure


def megabytes_by_rank(tables: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return the bytes of table weights per rank: shards on their ranks, copies on every rank."""
    sizes: dict[int, float] = {}
    for table in tables:
        for rank, size in bytes_by_rank(table).items():
            sizes[rank] = sizes.get(rank, 0) + size
    ranks = sorted(sizes)
    figure = base()
    figure.add_bar(
        x=[f"rank {rank}" for rank in ranks],
        y=[sizes[rank] / 1e6 for rank in ranks],
        marker_color=COLORS[0],
    )
    figure.update_layout(bargap=0.4)
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


def expert_bars(
    experts: Mapping[str, Mapping[str, float | None]], name: str, axis: str
) -> go.Figure:
    """Return one bar per expert, the first on top. `name`: a metric of experts."""
    values = [values[name] for values in experts.values()]
    figure = base()
    figure.add_bar(
        x=values,
        y=[literal(name) for name in experts],
        orientation="h",
        marker_color=COLORS[0],
        # Beside a bar to the left it would lie on the expert's name.
        texttemplate="%{x:.3g}" if all(value is None or value >= 0 for value in values) else None,
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )
    figure.update_layout(height=80 + 24 * len(experts), hovermode="closest")
    whole = [0, 1] if name in ("zero_fraction", "load") else None
    figure.update_xaxes(title=axis, rangemode="tozero", range=whole)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def probe_curves(
    points: Mapping[str, Points],
    axis: str,
    scale: Literal["share", "from 0", "log"],
    order: Sequence[str],
) -> go.Figure:
    """Return one line per name over the probes, styled by its position in `order`.

    scale: 'share' is always from 0 to 1.
    """
    figure = _curves(axis)
    for name, found in points.items():
        _line(figure, name, found, *style(order.index(name)))
    if scale == "share":
        figure.update_yaxes(range=[-0.02, 1.02])
    elif scale == "from 0":
        figure.update_yaxes(rangemode="tozero")
    else:
        figure.update_yaxes(type="log", exponentformat="power")
    figure.update_layout(hovermode="closest")  # up to a line an expert: too many for one box
    return figure


def against_rate(
    tasks: Mapping[str, Mapping[str, float | None]], name: str, axis: str, *, order: Sequence[str]
) -> go.Figure:
    """Return one point per task with `name`: its rate of positive rows, and `name`."""
    figure = base()
    for task, metrics in tasks.items():
        if metrics.get(name) is None:
            continue
        figure.add_scatter(
            x=[metrics.get("positive_rate")],
            y=[metrics[name]],
            name=literal(task),
            text=[literal(task)],
            mode="markers+text",
            textposition="top center",
            cliponaxis=False,
            marker={"color": style(order.index(task))[0], "size": 10},
            hovertemplate="%{text}: %{x:.3g}, %{y:.3g}<extra></extra>",
        )
    figure.update_layout(hovermode="closest", margin={"t": 24})  # room for a name
    # Two decades would be ten ticks too many.
    figure.update_xaxes(title="share of positive rows", type="log", tickformat="~%", dtick="D2")
    figure.update_yaxes(title=axis, rangemode="tozero")
    return figure


def base() -> go.Figure:
    """Return an empty chart in the style of the page."""
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": 320,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {"automargin": True},
            "yaxis": {"automargin": True},
            "showlegend": False,  # the page has one key for all charts of a kind
        }
    )


def _curves(axis: str) -> go.Figure:
    figure = base()
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title="step", tickformat=",d", rangemode="tozero")
    figure.update_yaxes(title=axis)
    return figure


def _line(figure: go.Figure, name: str, points: Points, color: str, dash: str) -> None:
    steps, values = points
    if not steps:
        return
    figure.add_scatter(
        x=list(steps),
        y=list(values),
        name=literal(name),
        # A single point has no line.
        mode="lines" if len(steps) > 1 else "markers",
        line={"color": color, "dash": dash, "width": 2},
        marker={"color": color},
    )


def style(index: int) -> tuple[str, str]:
    """Return color and dash of the index-th line of a chart."""
    round_, place = divmod(index, len(COLORS))
    return COLORS[place], DASHES[round_ % len(DASHES)]
