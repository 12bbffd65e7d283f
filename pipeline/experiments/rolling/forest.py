"""The forest plot: a tower's difference to its best rival, by task and metric, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from pipeline.experiments.rolling.findings import best_differences, interval
from pipeline.experiments.study_findings import signed
from pipeline.io.json_types import Json
from pipeline.metrics.spec import metric_named

_COLORS = {
    "better": "#009E73",
    "worse": "#D55E00",
    "not significant": "#6B747D",
    "too few users": "#6B747D",
}
_ROW, _LABELS, _PLOT, _TEXT = 24, 190, 420, 330
_WIDTH = _LABELS + _PLOT + _TEXT


def forest(study: Json, tower: str) -> Markup:
    """Return the plot: a panel a metric, a row a task; bars are 95% intervals."""
    parts, top = [Markup(), _heading(study, tower)], 46
    for metric in study["summary"]:
        rows = [
            (task, rival, found)
            for of, task, rival, found, _ in best_differences(study, tower)
            if of == metric
        ]
        if rows:
            parts.append(_panel(metric_named(metric).heading, rows, top))
            top += _ROW * (len(rows) + 2)
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#20262C"'
    return (
        Markup(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" {style}>')
        + Markup(f'<rect width="{_WIDTH}" height="{top}" fill="#FFFFFF"/>')
        + Markup().join(parts)
        + Markup("</svg>\n")
    )


def _heading(study: Json, tower: str) -> Markup:
    days = [one["origin"] for one in study["origins"]]
    text = f"{tower} minus its best rival, 95% intervals"
    about = f"{len(days)} test days to {days[-1]}, {len(study['seeds'])} seeds"
    return _text(10, 22, text, weight=600) + _text(10, 40, about, color="#6B747D")


def _panel(heading: str, rows: Sequence[tuple[str, str, Json]], top: int) -> Markup:
    ends = [0.0, *(end for _, _, found in rows for end in _interval(found))]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low) or 1e-4

    def place(value: float) -> float:
        return _LABELS + _PLOT * (value - low + room) / (high - low + 2 * room)

    bottom = top + _ROW * (len(rows) + 1)
    zero = place(0.0)
    parts = [
        _text(10, top + 17, heading, weight=600),
        _line(zero, zero, top + _ROW - 4, bottom, "#B6BDC4"),
        _text(zero, top + 15, "0", anchor="middle", color="#6B747D"),
    ]
    for index, (task, rival, found) in enumerate(rows, start=1):
        y = top + _ROW * index + 12
        low_end, high_end = _interval(found)
        color = _COLORS[found["conclusion"]]
        parts += [
            _text(20, y + 4, task),
            _line(place(low_end), place(high_end), y, y, color),
            Markup(f'<circle cx="{place(found["mean"]):.1f}" cy="{y}" r="4.5" fill="{color}"/>'),
            _text(
                _LABELS + _PLOT + 12,
                y + 4,
                f"{signed(found['mean'])} ({interval(found)}) {rival}",
                color=color,
            ),
        ]
    return Markup().join(parts)


def _interval(found: Json) -> tuple[float, float]:
    """Return the ends of the bar; without an error those of the point."""
    if found["low"] is None:
        return found["mean"], found["mean"]
    return found["low"], found["high"]


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: int = 400,
    color: str = "#20262C",
) -> Markup:
    return (
        Markup(
            f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{color}">'
        )
        + escape(text)
        + Markup("</text>")
    )


def _line(x0: float, x1: float, y0: float, y1: float, color: str) -> Markup:
    return Markup(
        f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y0}" y2="{y1}" stroke="{color}" stroke-width="2"/>'
    )
