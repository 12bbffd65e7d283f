"""A report as one HTML page that needs nothing from the net: tables, charts, plotly.js once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pipeline.report.style import STYLE


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table's cell. `value` sorts it (NaN: not known) and puts it right; `shade`
    (0 to 1) tints it."""

    text: str
    value: float | None = None
    shade: float | None = None


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, sortable: bool = False
) -> str:
    """At least one row; the first cell of each is its heading."""
    inner = "<button>{}</button>" if sortable else "{}"
    head = "".join(
        f"<th scope=col{max(_kind(row[i]) for row in rows)}>{inner.format(escape(name))}</th>"
        for i, name in enumerate(headings)
    )
    body = "".join(
        f"<tr><th scope=row>{escape(row[0].text)}</th>{''.join(map(_td, row[1:]))}</tr>"
        for row in rows
    )
    kind = " class=sortable" if sortable else ""
    return (
        f"<div class=scroll><table{kind}><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _kind(cell: Cell) -> str:
    if cell.shade is not None:
        return " class=shaded"
    return "" if cell.value is None else " class=number"


def _td(cell: Cell) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    shade = "" if cell.shade is None else f' style="--shade:{cell.shade:.3f}"'
    return f"<td{_kind(cell)}{value}{shade}>{escape(cell.text)}</td>"


def chart(title: str, note: str, figure: go.Figure, extra: str = "") -> str:
    """A figure with its heading, a note and a key (`extra`); the page's script draws it."""
    name = escape(title)
    # '<' could end the script element.
    spec = figure.to_json().replace("<", "\\u003c")
    small = f"<p class=note>{escape(note)}</p>" if note else ""
    return (
        f"<figure><figcaption><h3>{name}</h3>{small}{extra}</figcaption>"
        f'<script type="application/json">{spec}</script>'
        f'<div class=plot role=img aria-label="{name}"></div></figure>'
    )


def charts(parts: Iterable[str], kind: str = "") -> str:
    """A grid of charts; kind 'small' puts three side by side where there is room, not two;
    'wide' is one a row, as wide as it must be."""
    return f'<div class="charts {kind}">{"".join(parts)}</div>'


def key(lines: Iterable[tuple[str, str, str]]) -> str:
    """What the colours mean: name, colour, dash as plotly calls it."""
    css = {"solid": "solid", "dash": "dashed", "dot": "dotted"}
    items = "".join(
        f'<li><i style="border-top:3px {css[dash]} {colour}"></i>{escape(name)}</li>'
        for name, colour, dash in lines
    )
    return f"<ul class=key>{items}</ul>"


def header(title: str, lead: str, body: str) -> str:
    return f"<header><h1>{escape(title)}</h1><p class=lead>{escape(lead)}</p>{body}</header>"


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def note(text: str) -> str:
    return f"<p class=note>{escape(text)}</p>"


def missing(what: str) -> str:
    """Says that this run does not have something, and why."""
    return f"<p class=missing>Not in this run: {escape(what)}.</p>"


def findings(lines: Iterable[tuple[str, str, str]]) -> str:
    """Severity ('wrong', 'healthy' or 'unchecked'), what was looked for, what was found."""
    items = "".join(
        f"<li class={severity}><b>{escape(what)}</b> {escape(text)}</li>"
        for severity, what, text in lines
    )
    return f"<ul class=findings>{items}</ul>"


def commands(lines: Iterable[tuple[str, str]]) -> str:
    """What it does, and the command."""
    items = "".join(
        f"<dt>{escape(does)}</dt><dd><code>{escape(run)}</code></dd>" for does, run in lines
    )
    return f"<dl class=commands>{items}</dl>"


def facts(items: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in items
    )
    return f"<dl class=facts>{cells}</dl>"


def folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def unfolded(title: str, part: str) -> str:
    """A part of the page (HTML) that is out of sight until asked for."""
    return f"<details><summary>{escape(title)}</summary>{part}</details>"


def prose(part: str) -> str:
    """A table whose cells hold sentences: they may wrap."""
    return f"<div class=prose>{part}</div>"


def links(items: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> str:
    """A name, and links beside it: text and address."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>"
        + " ".join(f'<a href="{escape(quote(to))}">{escape(text)}</a>' for text, to in found)
        + "</dd>"
        for name, found in items
    )
    return f"<dl class=commands>{rows}</dl>"


def answers(items: Iterable[tuple[str, str]]) -> str:
    """Questions, each with a paragraph that answers it."""
    return "".join(
        f"<p class=answer><b>{escape(question)}</b> {escape(text)}</p>" for question, text in items
    )


def page(title: str, body: str) -> str:
    """The whole document."""
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        '<link rel=icon href="data:,">'  # else a browser asks the server for one
        f"<style>{STYLE}</style></head><body><main>{body}</main>"
        "<noscript>The charts need JavaScript; the tables do not.</noscript>"
        f"<script>{get_plotlyjs()}</script><script>{_SCRIPT}</script></body></html>\n"
    )


_SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const touch = matchMedia('(pointer: coarse)');
function draw() {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const [ink, line, card] = ['--ink', '--line', '--card'].map(colour);
  for (const figure of document.querySelectorAll('figure')) {
    const {data, layout} = JSON.parse(figure.querySelector('script').textContent);
    layout.font = {color: ink, size: 13, family: getComputedStyle(document.body).fontFamily};
    layout.hoverlabel = {bgcolor: card, bordercolor: line, font: {color: ink}};
    // A finger that scrolls the page must not zoom the chart.
    layout.dragmode = touch.matches ? false : 'zoom';
    for (const axis of Object.keys(layout).filter(name => /^[xy]axis/.test(name)))
      Object.assign(layout[axis], {gridcolor: line, zerolinecolor: line, linecolor: line});
    Plotly.react(figure.querySelector('.plot'), data, layout,
      {responsive: true, displayModeBar: false, displaylogo: false});
  }
}
draw();
dark.addEventListener('change', draw);
for (const button of document.querySelectorAll('.sortable button'))
  button.onclick = () => {
    const head = button.parentElement, row = head.parentElement, index = head.cellIndex;
    const up = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
    for (const other of row.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up === 1 ? 'ascending' : 'descending');
    const body = row.closest('table').tBodies[0];
    const key = tr => tr.cells[index].dataset.value ?? tr.cells[index].textContent;
    const order = (a, b) => isNaN(key(a)) ? -key(a).localeCompare(key(b)) : key(a) - key(b);
    body.append(...[...body.rows].sort((a, b) => up * order(a, b)));
  };
"""
