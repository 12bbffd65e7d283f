"""A sweep as charts, grids of two inputs, and a table of all points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from embeddings.planner.inputs.cluster import GIB
from pipeline.io.json_types import Json
from pipeline.planning.page.numbers import memory, milliseconds, number, plural
from pipeline.planning.page.plan_view import PART_TITLES
from pipeline.planning.page.rank_charts import PART_COLORS
from pipeline.planning.page.sweep_file import Memory, SweepFile, SweepPoint
from pipeline.planning.page.table_list import Column, ListCell, Row, SortedTable

_MEMORY_COLORS = {"hbm": "#CC79A7", "ddr": "#9A8B00", "ssd": "#56B4E9"}
_HATCH = {"color": "rgba(0,0,0,0)", "line": {"color": "#999", "width": 1},
          "pattern": {"shape": "/", "fgcolor": "#999", "size": 7, "solidity": 0.25}}  # fmt: skip


class SweepView:
    def __init__(self, sweep: SweepFile) -> None:
        self.sweep, self.points = sweep, sweep.points
        values = {
            name: _sorted({point.values[name]: None for point in self.points})
            for name in self.points[0].values
        }
        self.values = values
        # Inputs with one value are not shown; the one with the most runs along the axis.
        varied = [name for name in values if len(values[name]) > 1] or list(values)
        self.inputs = sorted(varied, key=lambda name: -len(values[name]))
        self.memories = list(
            dict.fromkeys(
                name for point in self.points for name, used in point.memory.items() if used[1]
            )
        )

    def content(self) -> Json:
        fits = [point for point in self.points if point.feasible]
        best = min(fits, key=lambda point: point.time_ms or 0, default=None)
        lead = (
            f"{plural(len(self.points), 'combination')} of inputs for {self.sweep.source} on "
            f"{self.sweep.cluster}, each planned separately; {len(fits):,} fit."
        )
        return {
            "lead": lead + (f" The shortest step: {describe(best)}." if best else ""),
            "key": [
                (PART_TITLES[part], color)
                for part, color in PART_COLORS.items()
                if any(point.ms.get(part) for point in fits)
            ],
            "axes": [self._along(name) for name in self.inputs],
            "table": self._table(),
            "reasons": [describe(point) for point in self.points if not point.feasible],
        }

    def _along(self, axis: str) -> Json:
        """Return charts with an input on the axis, and grids of it and one other input."""
        rest = [name for name in self.inputs if name != axis]
        keys = [*rest, axis]
        points = sorted(
            self.points,
            key=lambda point: [self.values[name].index(point.values[name]) for name in keys],
        )
        charts = [
            self._chart("sweep-time", "Step time by part of the busiest rank (dashed: lower bound)",
                        "ms", points, axis, _time_traces),
            *(self._chart(f"sweep-{name}", f"{name.upper()} per rank: least used to fullest "
                          "(line: available)", "GiB", points, axis, _memory_traces(name))
              for name in self.memories),
            self._chart("sweep-imbalance", "Imbalance: busiest rank / mean", "", points, axis,
                        lambda xs, fits: [_bar(xs, [one.imbalance for one in fits], "#009E73")]),
        ]  # fmt: skip
        grids = self._grid(points, axis, rest[0], rest[1:]) if rest else []
        return {"name": axis.replace("_", " "), "charts": charts, "grids": grids}

    def _chart(
        self, id_: str, title: str, unit: str, points: Sequence[SweepPoint], axis: str, traces: Any
    ) -> Json:
        """Points that differ in the axis' input alone stand side by side."""
        places: list[float] = []
        groups: dict[str, list[float]] = {}
        for point in points:
            others = _inputs(point, [name for name in self.inputs if name != axis])
            new = others not in groups
            places.append(places[-1] + (1.4 if new else 1.0) if places else 0.0)
            groups.setdefault(others, []).append(places[-1])
        fits = [(x, point) for x, point in zip(places, points, strict=True) if point.feasible]
        rest = [x for x, point in zip(places, points, strict=True) if not point.feasible]
        data = traces([x for x, _ in fits], [point for _, point in fits])
        top = 1.06 * max(
            (max(trace.pop("tops", trace["y"]), default=0) for trace in data), default=0
        )
        data.append({"type": "bar", "x": rest, "y": [top or 1] * len(rest), "marker": _HATCH,
                     "text": ["does not fit"] * len(rest), "textangle": -90,
                     "textposition": "inside", "insidetextanchor": "middle",
                     "hoverinfo": "none", "width": 0.9, "name": "does not fit"})  # fmt: skip
        layout = {
            "height": 240, "barmode": "stack", "showlegend": False, "hovermode": "x",
            "hoverdistance": -1,
            "margin": {"l": 64, "r": 12, "t": 10, "b": 60},
            "xaxis": {"tickvals": places, "fixedrange": True, "showgrid": False, "zeroline": False,
                      "ticktext": [plain(one.values[axis].replace("_", " ")) for one in points],
                      "range": [-0.7, places[-1] + 0.7]},
            "yaxis": {"title": {"text": unit}, "range": [0, top or 1], "fixedrange": True},
            "annotations": [
                {"text": plain(name), "x": sum(xs) / len(xs), "xref": "x", "y": 0, "yref": "paper",
                 "yshift": -38, "showarrow": False}
                for name, xs in groups.items() if name
            ],
        }  # fmt: skip
        return {
            "id": id_,
            "title": title + (f", {unit}" if unit else ""),
            "axis": axis.replace("_", " "),
            "width": 80 + 40 * len(points),
            "figure": {
                "data": data,
                "layout": layout,
                "places": places,
                "tips": [describe(point) for point in points],
            },
        }

    def _grid(
        self, points: Sequence[SweepPoint], across: str, down: str, rest: Sequence[str]
    ) -> list[Json]:
        """Return step times by two inputs, one grid per combination of the others."""
        times = [math.log(point.time_ms or 1e-9) for point in points if point.feasible]
        low, span = min(times, default=0), (max(times, default=0) - min(times, default=0)) or 1
        found: dict[str, dict[tuple[str, str], SweepPoint]] = {}
        for point in points:
            name = _inputs(point, rest)
            found.setdefault(name, {})[point.values[down], point.values[across]] = point

        def cell(point: SweepPoint | None) -> Json | None:
            if point is None:
                return None
            shade = None
            if point.feasible:
                shade = 0.1 + 0.9 * (math.log(point.time_ms or 1e-9) - low) / span
            text = milliseconds(point.time_ms or 0) if point.feasible else "does not fit"
            return {"text": text, "title": describe(point), "shade": shade}

        return [
            {
                "name": name,
                "heads": [_input(across, value) for value in self.values[across]],
                "lines": [
                    (_input(down, row), [cell(at.get((row, column))) for column in
                                         self.values[across]])
                    for row in self.values[down]
                ],
            }
            for name, at in found.items()
        ]  # fmt: skip

    def _table(self) -> SortedTable:
        """Return points sorted by step time; infeasible points come last."""
        inputs = list(self.points[0].values)
        numeric = {
            name: all(_is_number(one.values[name]) for one in self.points) for name in inputs
        }
        columns = (
            *(Column(name.replace("_", " "), numeric[name]) for name in inputs),
            Column("step, ms", True),
            Column("lower bound, ms", True),
            Column("busiest / mean", True),
            *(Column(f"{name.upper()}, fullest rank", True) for name in self.memories),
        )
        rows = []
        for point in sorted(self.points, key=_time):
            cells = [
                ListCell(point.values[name], float(point.values[name]) if numeric[name] else None)
                for name in inputs
            ]
            if point.feasible:
                values = [
                    (point.time_ms or 0, number(point.time_ms or 0)),
                    (point.lower_bound_ms or 0, number(point.lower_bound_ms or 0)),
                    (point.imbalance or 0, number(point.imbalance or 0, 3)),
                    *((point.memory[name][1], _memory(point, name)) for name in self.memories),
                ]
                cells += [ListCell(text, float(value)) for value, text in values]
            else:
                texts = ["does not fit", *["-"] * (2 + len(self.memories))]
                cells += [ListCell(text, math.inf) for text in texts]
            rows.append(Row(tuple(cells)))
        return SortedTable("Points of the sweep", columns, tuple(rows), len(inputs), False)


def describe(point: SweepPoint) -> str:
    at = _inputs(point, list(point.values))
    if not point.feasible:
        return f"{at}: does not fit. {point.reason}"
    memories = ", ".join(
        f"{name.upper()} {_memory(point, name)}" for name, used in point.memory.items() if used[1]
    )
    return (
        f"{at}: {milliseconds(point.time_ms or 0)}, lower bound "
        f"{milliseconds(point.lower_bound_ms or 0)}, imbalance {number(point.imbalance or 0, 3)}, "
        f"{memories}"
    )


def plain(text: str) -> str:
    """Plotly takes texts for HTML."""
    return escape(text, quote=False)


def _time_traces(xs: list[float], fits: list[SweepPoint]) -> list[Json]:
    found = []
    for part, color in PART_COLORS.items():
        values = [one.ms.get(part, 0.0) for one in fits]
        if any(values):
            found.append(_bar(xs, values, color))
    bounds = [one.lower_bound_ms or 0.0 for one in fits]
    if found:
        found[0]["tops"] = [one.time_ms or 0.0 for one in fits]
    return [*found, _marks(xs, bounds, "dash")]


def _memory_traces(name: Memory) -> Any:
    def traces(xs: list[float], fits: list[SweepPoint]) -> list[Json]:
        least = [one.memory[name][0] / GIB for one in fits]
        most = [one.memory[name][1] / GIB for one in fits]
        span = _bar(xs, [b - a for a, b in zip(least, most, strict=True)], _MEMORY_COLORS[name])
        # At least a line, where all ranks have the same.
        span |= {"base": least, "tops": most, "width": 0.5}
        span["marker"]["line"] = {"color": _MEMORY_COLORS[name], "width": 2}
        return [span, _marks(xs, [one.room.get(name, 0) / GIB for one in fits], "solid")]

    return traces


def _bar(xs: list[float], ys: Sequence[float | None], color: str) -> Json:
    return {"type": "bar", "x": xs, "y": list(ys), "marker": {"color": color}, "width": 0.7,
            "hoverinfo": "none"}  # fmt: skip


def _marks(xs: list[float], ys: list[float], dash: str) -> Json:
    """A level line across each point's column."""
    between = [place for x in xs for place in (x - 0.45, x + 0.45, None)]
    levels = [level for y in ys for level in (y, y, None)]
    return {"type": "scatter", "mode": "lines", "x": between, "y": levels, "hoverinfo": "skip",
            "tops": ys, "line": {"color": "--ink", "width": 2, "dash": dash}}  # fmt: skip


def _sorted(values: dict[str, None]) -> list[str]:
    """Sort numbers by value; keep the order of other values."""
    return sorted(values, key=float) if all(map(_is_number, values)) else list(values)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _input(name: str, value: str) -> str:
    return f"{name.replace('_', ' ')} {value}"


def _inputs(point: SweepPoint, names: Sequence[str]) -> str:
    return ", ".join(_input(name, point.values[name]) for name in names)


def _memory(point: SweepPoint, name: Memory) -> str:
    return f"{memory(point.memory[name][1])} of {memory(point.room.get(name, 0))}"


def _time(point: SweepPoint) -> float:
    return (point.time_ms or 0.0) if point.feasible else math.inf
