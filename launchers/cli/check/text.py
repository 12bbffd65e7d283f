"""The text of a table's check, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipeline.data.check_table.result import BadValues, CheckResult, DriftInSplit, FeatureCheck
from pipeline.io.console import plain_console, print_line
from pipeline.io.text_table import text_table

_TASKS = 5
"""Tasks beside each other."""


def print_check(found: CheckResult) -> None:
    """Print all that a check found, findings last."""
    console = plain_console()
    tasks = list(found.labels)
    console.print(_labels(found))
    for start in range(0, len(tasks), _TASKS):
        console.print(_periods(found, tasks[start : start + _TASKS]))
    console.print(_values(found))
    console.print(_drift(found))
    _print_rows(console, found)
    for one in found.bad_values:
        _print_bad(console, one)
    for finding in found.findings:
        print_line(console, f"{finding.severity}: {finding.what}: {finding.text}")
    if not found.findings:
        print_line(console, "nothing found that needs attention")


def _labels(found: CheckResult) -> Table:
    view = text_table("Labels: share of 1, and missing", ["label"], found.splits)
    view.add_row("rows", *(f"{rows:,}" for rows in found.splits.values()))
    for task, splits in found.labels.items():
        view.add_row(task, *(percent(one.rate) for one in splits.values()))
        if any(one.missing for one in splits.values()):
            shares = (one.missing / one.rows if one.rows else None for one in splits.values())
            view.add_row("  missing", *map(percent, shares))
    return view


def _periods(found: CheckResult, tasks: Sequence[str]) -> Table:
    view = text_table("Labels over time: share of 1", [found.period], ["rows"])
    for task in tasks:
        view.add_column(task, justify="right", overflow="fold")
    for one in found.periods:
        view.add_row(one.start, f"{one.rows:,}", *(percent(one.rates[task]) for task in tasks))
    return view


def _values(found: CheckResult) -> Table:
    view = text_table(
        "Features: rows without a value; distinct values in training, rare ones of them",
        ["feature", "type"],
        [*found.splits, "distinct", "rare"],
    )
    for one in found.features:
        about = "" if one.exact else "~"
        view.add_row(
            one.name,
            one.type,
            *(percent(share) for share in one.missing.values()),
            f"{about}{one.distinct:,}",
            "" if one.rare is None else f"{about}{one.rare:,}",
        )
    return view


def _drift(found: CheckResult) -> Table:
    view = text_table(
        "Features: unseen values; stability index against training, largest first",
        ["feature"],
        [*found.splits, "index val", "index test", "drift"],
    )
    for one in by_drift(found.features):
        unseen = one.unseen or dict.fromkeys(found.splits)
        view.add_row(
            one.name,
            *("" if one.unseen is None else percent(share) for share in unseen.values()),
            *(index(drift) for drift in one.drift.values()),
            worst(one),
        )
    return view


def by_drift(features: Sequence[FeatureCheck]) -> list[FeatureCheck]:
    """Return features, those that drift most first."""
    return sorted(features, key=lambda one: -one.psi)


def worst(feature: FeatureCheck) -> str:
    """Return 'large', 'moderate' or ''."""
    found = {one.severity for one in feature.drift.values() if one}
    return next((name for name in ("large", "moderate") if name in found), "")


def percent(share: float | None) -> str:
    """Format a share."""
    return "-" if share is None else f"{share:.1%}"


def index(drift: DriftInSplit | None) -> str:
    """Format a stability index."""
    return "-" if drift is None else f"{drift.psi:.2f}"


def _print_rows(console: Console, found: CheckResult) -> None:
    about = "" if found.duplicates.exact else "about "
    for what, counts in (
        ("rows that repeat another one of their split", found.duplicates.repeated),
        ("rows that are in training, too", found.duplicates.also_in_train),
    ):
        shown = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        print_line(console, f"{what}: {about}{shown}")
    for side in found.side_tables:
        print_line(console, f"rows whose key is not in {side.name}: {side.missed:,}")


def _print_bad(console: Console, one: BadValues) -> None:
    print_line(console, f"column {one.column!r}: {one.count:,} {one.what}; {one.remedy}")
    for place in one.first:
        print_line(console, f"  {place.where}: {place.value}")
    if one.count > len(one.first):
        print_line(console, f"  and {one.count - len(one.first):,} more")
