"""Formats measured plans as tables and as JSON: predicted beside measured times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from embeddings.planner.calibration.observed import Fit
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import PARTS
from pipeline.io.text_table import text_table
from pipeline.planning.measure import INSIDE, TIMED, Measured

_NAMES = {
    "fwd_compute": "lookup",
    "fwd_comms": "exchange",
    "bwd_compute": "backward",
    "bwd_comms": "backward exchange",
    "all_reduce": "  including all-reduce",
    "optimizer": "  including optimizer of replicas",
    "input_dist_comms": "ids' exchange (overlapped)",
}
_ORDER = (*TIMED[:4], *INSIDE, TIMED[4])


def measured_view(name: str, file: PlanFile, found: Measured) -> Iterator[Table | str]:
    """Return a table of milliseconds by rank and part, and of the whole step."""
    numbers = ("predicted", "fastest", "median", "+-", "fastest /\npredicted")
    view = text_table(f"{name}: milliseconds", ["rank", "part"], numbers)
    copies = any(placed.copied for placed in file.tables)
    starts = file.starts()
    for rank, (took, least, spread) in enumerate(
        zip(found.ms, found.fastest, found.spread, strict=True)
    ):
        for part in _ORDER:
            predicted = file.ranks[rank].ms[part] + starts.get(part, 0.0) if part in PARTS else None
            if part in INSIDE and not copies:
                continue
            view.add_row(
                str(rank) if part == _ORDER[0] else "",
                _NAMES[part],
                "" if predicted is None else f"{predicted:.4g}",
                f"{least[part]:.4g}",
                f"{took[part]:.4g}",
                f"{spread[part]:.0%}",
                f"{least[part] / predicted:.2f}" if predicted else "",
            )
        view.add_section()
    yield view
    yield (
        f"busiest rank, sum of parts without the ids' exchange: {file.expected_ms():.4g} ms "
        f"predicted, {found.total_fastest:.4g} ms fastest, "
        f"{found.total_ms:.4g} ms median; whole steps: {found.step_fastest:.4g} ms "
        f"fastest, {found.step_ms:.4g} ms +- {found.step_spread:.0%} median of "
        f"{found.repeats}"
    )


def measured_json(name: str, file: PlanFile, found: Measured) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "plan": name,
        "predicted": {
            "time_ms": file.time_ms,
            "expected_ms": file.expected_ms(),
            "starts": file.starts(),
            "ms": [rank.ms for rank in file.ranks],
        },
        "measured": {"total_ms": found.total_ms, **asdict(found)},
    }


def fits_view(fits: Sequence[Fit]) -> Table:
    """Return a table with the error of each fit."""
    numbers = ("observations", "error (root\nmean square)", "ms per\nsharding type")
    view = text_table("Fits", ["what"], numbers)
    for fit in fits:
        view.add_row(fit.name, str(fit.count), f"{fit.error:.0%}", f"{fit.start_ms:.3g}")
    return view
