"""Formats TableStats as a table."""

from __future__ import annotations

from rich.table import Table

from embeddings.planner.inputs.table_stats import TableStats
from pipeline.io.text_table import text_table


def table_stats_view(stats: TableStats, rows: int, serve: float, most: int | None = None) -> Table:
    """Return a table of the `most` looked-up tables, for global batches of `rows` rows."""
    numbers = (
        *("rows", "looked\nup", "ids per\nsample", "empty", "99th per-\ncentile"),
        *("distinct\n/ ids", "in the\ntop 1%", f"rows for {serve:.4g}\nof lookups"),
    )
    title = f"Counted in {stats.source}, {stats.rows:,} rows; batches of {rows:,} rows"
    view = text_table(title, ["table"], numbers)
    for name, table in sorted(stats.tables.items(), key=lambda one: -one[1].lookups)[:most]:
        features = [stats.features[feature] for feature in table.features]
        ids = sum(feature.mean for feature in features)
        cached = table.rows_for(serve)
        view.add_row(
            name,
            f"{table.rows:,}",
            f"{table.seen / table.rows:.1%}",
            " + ".join(f"{feature.mean:.4g}" for feature in features),
            " + ".join(f"{feature.empty:.2%}" for feature in features),
            " + ".join(str(feature.quantiles["p99"]) for feature in features),
            f"{table.distinct_in(rows) / (rows * ids):.3f}" if ids else "-",
            f"{table.served(max(1, table.rows // 100)):.1%}",
            f"{cached:,} ({cached / table.rows:.3g})",
        )
    if most is not None and (rest := len(stats.tables) - most) > 0:
        view.add_row(f"{rest} more")
    return view
