"""Charts of a search, as Plotly figures. Finished trials are filled, pruned ones hollow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pipeline.io.json_types import Json
from pipeline.report.charts import COLORS, base, literal

FINISHED, PRUNED, BEST = COLORS[0], COLORS[1], COLORS[3]
# Maximum number of values for which an axis labels each.
_FEW = 8
_KINDS = (("complete", FINISHED, "circle"), ("pruned", PRUNED, "circle-open"))


def history(found: Mapping[str, Any]) -> go.Figure:
    """Value of each trial by number, and the best finished one so far."""
    figure = base()
    figure.update_layout(hovermode="closest")
    _points(figure, found, lambda trial: trial["trial"])
    pick = min if found["lower_is_better"] else max
    numbers: list[int] = []
    best: list[float] = []
    for trial in found["trials"]:
        if trial["state"] == "complete":
            numbers.append(trial["trial"])
            best.append(pick([*best[-1:], trial["value"]]))
    line = {"color": BEST, "width": 2, "shape": "hv"}
    figure.add_scatter(x=numbers, y=best, mode="lines", line=line, name="best so far")
    figure.update_xaxes(title="trial", tickformat="d")
    figure.update_yaxes(title=literal(found["select"]))
    return figure


def curves(found: Mapping[str, Any]) -> go.Figure:
    """Return evaluations of each trial over rows seen; the best trial on top."""
    figure = base()
    figure.update_layout(hovermode="closest")
    best = found["best"]
    for trial in sorted(found["trials"], key=lambda trial: trial["trial"] == best):
        points = trial["evaluations"]
        color = FINISHED if trial["state"] == "complete" else PRUNED
        is_best = trial["trial"] == best
        dash = "solid" if trial["state"] == "complete" else "dot"
        figure.add_scatter(
            x=[rows for rows, _ in points],
            y=[value for _, value in points],
            name=f"trial {trial['trial']}",
            mode="lines+markers",
            marker={"size": 4},
            line={
                "color": BEST if is_best else color,
                "dash": dash,
                "width": 3 if is_best else 1,
            },
        )
    figure.update_xaxes(title="rows seen", rangemode="tozero")
    figure.update_yaxes(title=literal(found["select"]))
    return figure


def slice_of(found: Mapping[str, Any], field: str, *, log: bool) -> go.Figure:
    """The value over one field's values, all trials."""
    figure = base()
    figure.update_layout(hovermode="closest", height=260)
    _points(figure, found, lambda trial: _value(trial["params"][field]))
    all_params = [trial["params"] for trial in found["trials"]]
    values = [_value(params[field]) for params in all_params if field in params]
    distinct = list(dict.fromkeys(values))
    if any(isinstance(value, str) for value in values):
        order = _sorted(distinct)
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif log:
        figure.update_xaxes(type="log", exponentformat="power")
    elif len(distinct) <= _FEW and all(isinstance(value, int) for value in distinct):
        figure.update_xaxes(tickvals=sorted(distinct))
    figure.update_xaxes(title=literal(field))
    figure.update_yaxes(title=literal(found["select"]))
    return figure


def importance(found: Mapping[str, Any]) -> go.Figure:
    """Return one bar per field, the most important on top."""
    figure = base()
    shares = found["importance"]
    figure.add_bar(
        x=list(shares.values()),
        y=[literal(field) for field in shares],
        orientation="h",
        marker_color=FINISHED,
        texttemplate="%{x:.2f}",
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure.update_layout(height=80 + 32 * len(shares), hovermode="closest")
    figure.update_xaxes(title="share", range=[0, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _points(figure: go.Figure, found: Mapping[str, Any], x: Callable[[Json], Any]) -> None:
    """A marker a trial, where it has a value."""
    for state, color, symbol in _KINDS:
        trials = [
            trial
            for trial in found["trials"]
            if trial["state"] == state and trial["value"] is not None
        ]
        figure.add_scatter(
            x=[x(trial) for trial in trials],
            y=[trial["value"] for trial in trials],
            text=[_about(trial) for trial in trials],
            name=state,
            mode="markers",
            hovertemplate="%{text}<extra></extra>",
            marker={"color": color, "symbol": symbol, "size": 9, "line": {"width": 2}},
        )


def _about(trial: Json) -> str:
    params = "<br>".join(literal(f"{field} {value}") for field, value in trial["params"].items())
    return f"trial {trial['trial']}: {trial['value']:.4f}<br>{params}"


def _value(value: Any) -> Any:
    return literal(value) if isinstance(value, str) else value


def _sorted(names: Sequence[str]) -> list[str]:
    """Sort numbers by value, other values alphabetically."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
