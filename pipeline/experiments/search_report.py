"""Results of a search: a table for the terminal, and report.html. Reads only tune.json."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.table import Table

from pipeline.experiments import search_charts as draw
from pipeline.experiments.file_types import SearchFile
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.io.text_table import add_number, add_text, text_table
from pipeline.io.typed_json import read_typed
from pipeline.report.page import (
    Cell,
    chart,
    charts,
    commands,
    header,
    key,
    missing,
    note,
    number,
    page,
    section,
    summary,
    table,
)
from pipeline.tracking.progress_line import duration_text

FOUND = "tune.json"
_SHOWN = 10


def best_table(found: Mapping[str, Any]) -> Table:
    """Return a table of the best trials, finished ones first."""
    view = text_table(None, ["trial"], [found["select"]])
    for heading in ("state", *found["searches"]):
        add_text(view, heading)
    add_number(view, "time")
    for trial in ranked(found)[:_SHOWN]:
        value = "-" if trial["value"] is None else f"{trial['value']:.4f}"
        params = [_text(trial["params"].get(field), ".3g") for field in found["searches"]]
        view.add_row(str(trial["trial"]), value, trial["state"], *params, _time(trial))
    return view


def ranked(found: Mapping[str, Any]) -> list[Json]:
    """Sort trials, best first: finished ones, then pruned ones, then the rest."""
    order = ["complete", "pruned", "running", "failed"]
    sign = 1 if found["lower_is_better"] else -1

    def place(trial: Json) -> tuple[int, float]:
        value = math.inf if trial["value"] is None else sign * trial["value"]
        return order.index(trial["state"]), value

    return sorted(found["trials"], key=place)


def write_tune_report(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write `folder`/report.html atomically and return its path."""
    name = folder.resolve().name
    body = (_header(name, found), _trials(found), *_charts(found), *_next(folder, found))
    path = folder / "report.html"
    write_text(path, page(f"{name}: homerec search", body))
    return path


def read_found(folder: Path) -> Json:
    """Read tune.json of a search in `folder`. Raises UserError if it is damaged."""
    remedy = "start another search with 'homerec tune --out'"
    found: Json = read_typed(folder / FOUND, SearchFile, remedy=remedy)
    return found


def _header(name: str, found: Mapping[str, Any]) -> Markup:
    trials: Sequence[Json] = found["trials"]
    states = [trial["state"] for trial in trials]
    counts = [f"{states.count(s)} {s}" for s in dict.fromkeys(sorted(states))]
    items = [("Trials", ", ".join(counts) or "none yet")]
    if found["best"] is not None:
        best = trials[found["best"]]
        items.append((f"Best {found['select']}", f"{best['value']:.4f} (trial {best['trial']})"))
    items.append(("Time of all trials", duration_text(sum(t["seconds"] or 0 for t in trials))))
    items.append(("Seed", str(found["seed"])))
    lead = (
        f"recipe {found['recipe']}; data {found['data']}; compared by {found['select']} on the "
        f"validation split; searched: {', '.join(found['searches'])}"
    )
    return header(name, lead, summary(items))


def _trials(found: Mapping[str, Any]) -> Markup:
    if not found["trials"]:
        return section("Trials", missing("a trial that has ended"))
    failed = [trial for trial in found["trials"] if trial["error"]]
    headings = ["trial", found["select"], "state", *found["searches"], "rows seen", "time"]
    rows = []
    for trial in ranked(found):
        seen = trial["evaluations"][-1][0] if trial["evaluations"] else None
        rows.append(
            [
                Cell(str(trial["trial"])),
                number(trial["value"], ".4f"),
                Cell(trial["state"]),
                *(_param(trial["params"].get(field)) for field in found["searches"]),
                number(seen, ",d"),
                Cell(_time(trial), trial["seconds"] or 0.0),
            ]
        )
    text = (
        "Best first. The metric is the best of the trial. Pruned trials were stopped early, so "
        "their metrics are not final."
    )
    parts = [note(text), table(headings, rows, sortable=True)]
    if failed:
        why = [(f"trial {trial['trial']} failed", trial["error"]) for trial in failed]
        parts.append(commands(why))
    return section("Trials", *parts)


def _charts(found: Mapping[str, Any]) -> list[Markup]:
    if not any(trial["value"] is not None for trial in found["trials"]):
        return [section("Progress", missing("an evaluation"))]
    states = [("finished", draw.FINISHED, "solid"), ("stopped early", draw.PRUNED, "dot")]
    with_best = [*states, ("best", draw.BEST, "solid")]
    better = "Lower is better." if found["lower_is_better"] else "Higher is better."
    parts = [
        chart(
            "Trials in order",
            f"{better} Line: best finished trial so far.",
            draw.history(found),
        ),
        chart("Each trial over its rows", better, draw.curves(found)),
    ]
    slices = [
        chart(field, "", draw.slice_of(found, field, log=field in found["log_scale"]))
        for field in found["searches"]
    ]
    sections = [
        section("Progress", key(with_best), charts(parts)),
        section("Metric by field", key(states), charts(slices, "small")),
    ]
    if found["importance"]:
        text = (
            "Share of each field in what distinguishes the best tenth of the finished trials from "
            "the rest (PED-ANOVA). Inaccurate with few trials."
        )
        weights = chart("Importance of fields", text, draw.importance(found))
        sections.append(section("Importance", charts([weights])))
    return sections


def _next(folder: Path, found: Mapping[str, Any]) -> list[Markup]:
    if found["best"] is None:
        return []
    run = folder / found["trials"][found["best"]]["run"]
    name, best = shlex.quote(str(folder)), shlex.quote(str(folder / "best.yaml"))
    lines = [
        (
            "Train the best trial again",
            f"homerec train --config {best}",
        ),
        (
            "Evaluate its checkpoint",
            f"homerec evaluate --checkpoint {shlex.quote(str(run))} --split test",
        ),
        ("More trials", f"homerec tune --out {name} --resume --trials N"),
    ]
    return [section("Next steps", commands(lines))]


def _param(value: Any) -> Cell:
    number = isinstance(value, (int, float))
    return Cell(_text(value), float(value) if number else None)


def _text(value: Any, form: str = ".4g") -> str:
    return "-" if value is None else f"{value:{form}}" if isinstance(value, float) else str(value)


def _time(trial: Json) -> str:
    return "-" if trial["seconds"] is None else duration_text(trial["seconds"])
