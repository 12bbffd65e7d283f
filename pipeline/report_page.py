"""A report as one HTML page that needs nothing from the net: tables, charts, plotly.js once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs


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
        f"<style>{_STYLE}</style></head><body><main>{body}</main>"
        "<noscript>The charts need JavaScript; the tables do not.</noscript>"
        f"<script>{get_plotlyjs()}</script><script>{_SCRIPT}</script></body></html>\n"
    )


_STYLE = """
:root { color-scheme: light dark; --ink:#1d2329; --soft:#5b6570; --line:#d5dae0; --page:#f6f7f9;
  --card:#fff; --tint:0,114,178; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8ec; --soft:#9aa5b1; --line:#363d45;
  --page:#14171a; --card:#1d2126; --tint:86,180,233; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width:1240px; margin:0 auto; padding:1.25rem clamp(.75rem, 3vw, 2rem) 3rem; }
h1 { font-size:1.6rem; line-height:1.2; margin:.25rem 0 .25rem; overflow-wrap:anywhere; }
h2 { font-size:1.25rem; margin:2.25rem 0 .75rem; }
h3 { font-size:1rem; margin:0; }
.note, .missing, .lead { color:var(--soft); margin:.15rem 0 .75rem; max-width:75ch; }
figcaption .note { font-size:.875rem; margin-bottom:.35rem; }
.missing { border-left:3px solid var(--line); padding-left:.75rem; }
.facts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 13rem), 1fr));
  gap:.75rem; margin:1rem 0; }
.facts div, figure, .scroll, details { background:var(--card); border:1px solid var(--line);
  border-radius:8px; }
.facts div { padding:.5rem .75rem; }
dt { color:var(--soft); font-size:.875rem; }
dd { margin:0; overflow-wrap:anywhere; }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap:1rem; margin-bottom:1rem; }
.charts.small { grid-template-columns:repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.charts.wide { grid-template-columns:minmax(0, 1fr); }
.charts.wide figure { overflow-x:auto; } .charts.wide .plot { min-width:50rem; }
.key { display:flex; flex-wrap:wrap; gap:.1rem 1.1rem; list-style:none; margin:.25rem 0 .75rem;
  padding:0; font-size:.9375rem; }
.key i { display:inline-block; width:1.75rem; margin-right:.4rem; vertical-align:middle; }
.findings { list-style:none; padding:0; margin:.25rem 0 1rem; }
.findings li { border-left:4px solid var(--line); padding:.15rem .75rem; margin:.35rem 0;
  max-width:95ch; overflow-wrap:anywhere; }
.findings .wrong { border-color:#D55E00; } .findings .healthy { border-color:#009E73; }
.findings .unchecked { color:var(--soft); }
figure { margin:0; padding:.75rem; min-width:0; display:flex; flex-direction:column;
  justify-content:space-between; }
section > h3 { margin:1.5rem 0 .25rem; }
.plot { width:100%; }
.scroll { overflow-x:auto; margin:0 0 1rem; }
table { border-collapse:collapse; width:100%; font-size:.9375rem;
  font-variant-numeric:tabular-nums; }
th, td { padding:.4rem .65rem; text-align:left; white-space:nowrap;
  border-top:1px solid var(--line); }
thead th { border-top:0; color:var(--soft); font-weight:600; }
tbody th { font-weight:600; position:sticky; left:0; background:var(--card); }
.number { text-align:right; }
.shaded { text-align:center; }
td.shaded { background:rgba(var(--tint), calc(var(--shade) * .6)); }
thead button { font:inherit; color:inherit; background:none; border:0; padding:0; cursor:pointer; }
thead button::after { content:" \\2195"; opacity:.5; }
th[aria-sort=ascending] button::after { content:" \\2191"; opacity:1; }
th[aria-sort=descending] button::after { content:" \\2193"; opacity:1; }
details { padding:.6rem .9rem; margin-bottom:1rem; } summary { cursor:pointer; }
pre { overflow-x:auto; font-size:.8125rem; } code { font-size:.875rem; overflow-wrap:anywhere; }
.commands dd { margin:0 0 .5rem; }
.prose td { white-space:normal; }
.answer { max-width:90ch; margin:.5rem 0; }
"""

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
