"""The page of a table's check: `homerec check --html`."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from pipeline.data.check_table.drift import LARGE, MODERATE
from pipeline.data.check_table.result import CheckResult, FeatureCheck
from pipeline.report import charts as curves
from pipeline.report.page import (
    Cell,
    chart,
    charts,
    findings,
    header,
    key,
    note,
    number,
    page,
    prose,
    section,
    summary,
    table,
)

_KINDS = {"error": "wrong", "warning": "wrong", "note": "unchecked"}
_MOST_BARS = 30


def check_page(name: str, found: CheckResult) -> str:
    """Return the whole document; `name`: of the configuration."""
    counts = [("rows", f"{found.rows:,}"), ("bad rows", f"{found.bad_rows:,}")]
    counts += [(split, f"{rows:,}") for split, rows in found.splits.items()]
    parts = [
        header(f"Table of {name}", "Every row was read once.", summary(counts)),
        _findings(found),
        _bad_values(found),
        _labels(found),
        _features(found),
        _rows(found),
    ]
    return page(f"Table of {name}", parts)


def _findings(found: CheckResult) -> Markup:
    lines = [
        (_KINDS[one.severity], f"{one.severity}: {one.what}", one.text) for one in found.findings
    ]
    return section(
        "Findings",
        findings(lines) if lines else note("Nothing that needs attention."),
    )


def _bad_values(found: CheckResult) -> Markup:
    rows = [
        [
            Cell(one.column),
            Cell(one.what),
            number(one.count, ",d"),
            Cell("; ".join(f"{place.where}: {place.value}" for place in one.first)),
            Cell(one.remedy),
        ]
        for one in found.bad_values
    ]
    headings = ["column", "values that are", "count", "first", "remedy"]
    return section(
        "Bad values",
        note("Rows with one are left out of all other numbers."),
        prose(table(headings, rows)) if rows else note("None."),
    )


def _labels(found: CheckResult) -> Markup:
    rows = []
    for task, splits in found.labels.items():
        shares = [one.missing / one.rows if one.rows else None for one in splits.values()]
        rates = [number(one.rate, ".2%") for one in splits.values()]
        rows.append([Cell(task), *rates, *(number(share, ".2%") for share in shares)])
    headings = ["label", *found.splits, *(f"missing in {split}" for split in found.splits)]
    lines = key((task, *curves.style(i)) for i, task in enumerate(found.labels))
    drawn = [
        chart("Share of 1 over time", f"By {found.period}.", _rates(found)),
        chart("Rows over time", f"By {found.period}.", _row_counts(found)),
    ]
    return section("Labels", table(headings, rows, sortable=True), lines, charts(drawn))


def _rates(found: CheckResult) -> go.Figure:
    figure = curves.base()
    starts = [one.start for one in found.periods]
    for index, task in enumerate(found.labels):
        color, dash = curves.style(index)
        figure.add_scatter(
            x=starts,
            y=[one.rates[task] for one in found.periods],
            name=curves.literal(task),
            mode="lines+markers",
            line={"color": color, "dash": dash, "width": 2},
        )
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(type="category", nticks=8)
    figure.update_yaxes(title="share of 1", tickformat="~%", rangemode="tozero")
    return figure


def _row_counts(found: CheckResult) -> go.Figure:
    figure = curves.base()
    figure.add_bar(
        x=[one.start for one in found.periods],
        y=[one.rows for one in found.periods],
        marker_color=curves.COLORS[0],
    )
    figure.update_xaxes(type="category", nticks=8)
    figure.update_yaxes(title="rows", rangemode="tozero")
    return figure


def _features(found: CheckResult) -> Markup:
    ordered = sorted(found.features, key=lambda one: -one.psi)
    rows = []
    for one in ordered:
        unseen = one.unseen or dict.fromkeys(found.splits)
        row = [Cell(one.name), Cell(one.type)]
        row += [number(share, ".2%") for share in one.missing.values()]
        row += [number(one.distinct, ",d"), number(one.rare, ",d")]
        row += [number(share, ".2%") for share in unseen.values()]
        row += [number(drift and drift.psi, ".3f") for drift in one.drift.values()]
        rows.append(row)
    headings = ["feature", "type", *(f"missing in {split}" for split in found.splits)]
    headings += ["distinct", "rare", *(f"unseen in {split}" for split in found.splits)]
    headings += [f"index in {split}" for split in ("val", "test")]
    text = (
        f"Population stability index against training: above {MODERATE} moderate, above {LARGE} "
        "large, beyond what chance explains."
    )
    estimated = [one.name for one in ordered if not one.exact]
    notes = [note(f"Estimated from a part of the values: {', '.join(estimated)}.")]
    return section(
        "Features",
        note(
            "Distinct values are those of training; rare ones are not in the vocabulary. Unseen "
            "values are neither."
        ),
        *(notes if estimated else []),
        charts([chart("Drift", text, _bars(ordered[:_MOST_BARS]))], "wide"),
        table(headings, rows, sortable=True),
    )


def _bars(features: Sequence[FeatureCheck]) -> go.Figure:
    figure = curves.base()
    for index, split in enumerate(("val", "test")):
        drifts = [one.drift.get(split) for one in features]
        figure.add_bar(
            x=[drift and drift.psi for drift in drifts],
            y=[curves.literal(one.name) for one in features],
            name=split,
            orientation="h",
            marker_color=curves.COLORS[index],
        )
    for limit in (MODERATE, LARGE):
        figure.add_vline(x=limit, line={"dash": "dot", "width": 1, "color": curves.COLORS[3]})
    figure.update_layout(
        height=80 + 28 * len(features), hovermode="closest", barmode="group", showlegend=True
    )
    figure.update_xaxes(title="stability index", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def _rows(found: CheckResult) -> Markup:
    duplicates = found.duplicates
    rows = [
        [
            Cell(split),
            number(count, ",d"),
            number(duplicates.also_in_train.get(split), ",d"),
        ]
        for split, count in duplicates.repeated.items()
    ]
    kind = "Exact" if duplicates.exact else "Estimated from a part of the rows"
    parts = [
        note(f"Rows that are equal in all columns that are used. {kind}."),
        table(["split", "repeat another row", "also in training"], rows),
    ]
    if found.side_tables:
        sides = [[Cell(one.name), number(one.missed, ",d")] for one in found.side_tables]
        parts.append(table(["side table", "rows without their key there"], sides))
    return section("Duplicates and side tables", *parts)
