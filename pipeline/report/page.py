"""The parts of a report's page as markup, and the page itself.

Text that is not `Markup` is escaped, whatever it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import plotly.graph_objects as go
from markupsafe import Markup

from pipeline.report.document import TEMPLATES, document

_PARTS: Any = TEMPLATES.get_template("report/parts.html").module


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table's cell. `value` sorts it (NaN: not known) and puts it right; `shade`
    (0 to 1) tints it."""

    text: str
    value: float | None = None
    shade: float | None = None

    @property
    def kind(self) -> str:
        """CSS class."""
        if self.shade is not None:
            return "shaded"
        return "" if self.value is None else "number"


def number(value: Any, form: str) -> Cell:
    """Return the cell of a number; '-' for None."""
    return Cell("-", math.nan) if value is None else Cell(f"{value:{form}}", value)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, sortable: bool = False
) -> Markup:
    """At least one row; the first cell of each is its heading."""
    kinds = [max(row[i].kind for row in rows) for i in range(len(headings))]
    return _PARTS.table(list(zip(headings, kinds, strict=True)), rows, sortable)


def chart(title: str, note: str, figure: go.Figure, key: Markup | str = "") -> Markup:
    """A figure with its heading, a note and a key; the page's script draws it."""
    # '<' could end the script element.
    return _PARTS.chart(title, note, Markup(figure.to_json().replace("<", "\\u003c")), key)


def charts(parts: Iterable[Markup], kind: str = "") -> Markup:
    """A grid of charts; kind 'small' puts three side by side where there is room, not two;
    'wide' is one a row, as wide as it must be."""
    return _PARTS.charts(list(parts), kind)


def key(lines: Iterable[tuple[str, str, str]]) -> Markup:
    """What the colors mean: name, color, dash as plotly calls it."""
    css = {"solid": "solid", "dash": "dashed", "dot": "dotted"}
    return _PARTS.key([(name, f"3px {css[dash]} {color}") for name, color, dash in lines])


def header(title: str, lead: str, body: Markup) -> Markup:
    return _PARTS.header(title, lead, body)


def section(title: str, *parts: Markup | str) -> Markup:
    return _PARTS.section(title, parts)


def heading(text: str) -> Markup:
    """Of a part of a section."""
    return _PARTS.heading(text)


def note(text: str) -> Markup:
    return _PARTS.paragraph("note", text)


def missing(what: str) -> Markup:
    """Says that this run does not have something, and why."""
    return _PARTS.paragraph("missing", f"Not in this run: {what}.")


def findings(lines: Iterable[tuple[str, str, str]]) -> Markup:
    """Severity ('wrong', 'healthy' or 'unchecked'), what was looked for, what was found."""
    return _PARTS.findings(list(lines))


def commands(lines: Iterable[tuple[str, str]]) -> Markup:
    """What it does, and the command."""
    return _PARTS.commands(list(lines))


def summary(items: Iterable[tuple[str, str]]) -> Markup:
    """Names and values, side by side."""
    return _PARTS.summary(list(items))


def folded(title: str, part: Markup) -> Markup:
    """A part of the page that is out of sight until asked for."""
    return _PARTS.details(title, part)


def source(text: str) -> Markup:
    """Text as it is, in a fixed-width font."""
    return _PARTS.source(text)


def prose(part: Markup) -> Markup:
    """A table whose cells hold sentences: they may wrap."""
    return _PARTS.prose(part)


def links(items: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> Markup:
    """A name, and links beside it: text and path from the page's folder."""
    return _PARTS.links(
        [(name, [(text, f"./{quote(to)}") for text, to in found]) for name, found in items]
    )


def answers(items: Iterable[tuple[str, str]]) -> Markup:
    """Questions, each with a paragraph that answers it."""
    return Markup().join(_PARTS.paragraph("answer", text, question) for question, text in items)


def page(title: str, parts: Iterable[Markup]) -> str:
    """The whole document."""
    script = (files("pipeline.report") / "page.js").read_text(encoding="utf-8")
    return document(title, Markup().join(parts), script)
