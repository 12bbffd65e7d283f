"""A page with the latencies of a sweep."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from pipeline.io.files import write_text
from pipeline.report import page
from pipeline.report.charts import COLORS
from pipeline.serving.bench.sweep import Bench, rows_of

HEADINGS = ("offered/s", "ranked/s", "p50 ms", "p95 ms", "p99 ms", "errors", "")


def write_page(path: Path, model: Path, found: Bench) -> None:
    """Write the page."""
    figure = go.Figure()
    loads = [one.offered for one in found.outcomes]
    for share, color in zip((50, 95, 99), COLORS, strict=False):
        figure.add_scatter(
            x=loads,
            y=[one.ms(share) for one in found.outcomes],
            name=f"p{share}",
            line={"color": color},
        )
    if found.knee is not None:
        figure.add_vline(x=loads[found.knee], line={"dash": "dash"})
    figure.update_layout(
        xaxis={"title": "offered requests per second"},
        yaxis={"title": "latency (ms)", "type": "log"},
    )
    cells = [[page.Cell(cell) for cell in row] for row in rows_of(found)]
    facts = [
        ("Model", model.name),
        ("Candidates of a request", f"{found.candidates}"),
        ("Cold start", f"{found.start_s:.2f} s"),
        *((f"Scoring, tower {form}", f"{ms:.1f} CPU-ms") for form, ms in found.ms.items()),
    ]
    note = "Poisson arrivals; from the scheduled arrival to the answer. The line marks the knee."
    parts = [
        page.header("Server under load", note, page.summary(facts)),
        page.section("Latency", page.chart("Latency by load", note, figure)),
        page.section("Table", page.table(HEADINGS, cells)),
    ]
    write_text(path, page.page("Server under load", parts))
