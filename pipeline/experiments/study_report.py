"""Writes report.html of a study: whether HoME is better, on which tasks, by how much, how certain
this is, and whether its experts are healthy. Reads only study.json; does not import torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from pipeline.experiments.file_types import HOME
from pipeline.experiments.paired import ERRORS
from pipeline.experiments.study import has_errors, headline_of, is_alone, metrics_of
from pipeline.experiments.study_charts import COLORS, PANELS, see_saw
from pipeline.experiments.study_findings import (
    ablations,
    answer,
    difference_text,
    plain,
    signed,
    subject,
)
from pipeline.experiments.study_health import WRONG, findings
from pipeline.experiments.study_tables import MARKS, cost_rows, mean_text, page_caption
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.report.page import (
    Cell,
    answers,
    chart,
    charts,
    folded,
    header,
    heading,
    key,
    links,
    missing,
    note,
    page,
    prose,
    section,
    summary,
    table,
)


def write_study_report(out: Path, study: Json) -> Path:
    """Write `out`/report.html atomically and return its path."""
    name = out.resolve().name
    body = (
        _header(name, study),
        section("The answer", answers(answer(study)), *(note(text) for text in study["notes"])),
        _see_saw(study),
        _metrics(study),
        _costs(study),
        _health(study),
        _runs(study),
    )
    path = out / "report.html"
    write_text(path, page(f"{name}: homerec study", body))
    return path


def _header(name: str, study: Json) -> Markup:
    done = sum(1 for run in study["runs"] if run["status"] == "done")
    rows = next(iter(study["rows"].values()), None)
    items = [
        ("Towers", str(len(study["towers"]))),
        ("Seeds", ", ".join(map(str, study["seeds"]))),
        ("Runs finished", f"{done} of {len(study['runs'])}"),
        ("Metrics of", study["split"] + (f", {rows['rows']:,} rows" if rows else "")),
        ("Checkpoint chosen by", f"{study['select']} on val"),
        ("Widths matched by", study["match"] or "not matched"),
    ]
    what = f"data {study['dataset']}; recipe {study['recipe']}; tasks {', '.join(study['tasks'])}"
    if study["overrides"]:
        what += f"; {' '.join(study['overrides'])}"
    return header(name, what, summary(items))


def _see_saw(study: Json) -> Markup:
    title = f"See-saw: difference of each tower to {study['against']}, by task"
    if is_alone(study):
        return section(title, missing("differences (there is only one tower)"))
    bars = (
        f"Point: mean over seeds. Thick bar: one standard error; thin bar: {ERRORS:.0f}."
        if has_errors(study)
        else "Point: difference of one seed. One seed has no standard error, so there are no bars "
        "and no conclusions."
    )
    text = (
        f"Right of the line is better than {study['against']}. {bars} Every panel has its own "
        "scale."
    )
    colors = key((conclusion, color, "solid") for conclusion, color in COLORS.items())
    towers = [tower for tower in study["towers"] if tower != study["against"]]
    pictures = _pictures(study, towers, "against")
    parts = [note(text), colors, charts(pictures, "wide")]
    if off := ablations(study):
        parts.append(heading("Ablations of HoME: difference to complete HoME"))
        parts.append(note("Left of the line: removing the part hurts."))
        parts.append(charts(_pictures(study, off, "home"), "wide"))
    return section(title, *parts)


def _pictures(study: Json, towers: list[str], to: Literal["against", "home"]) -> list[Markup]:
    """Return one chart per metric, or more if there are many tasks."""
    pictures = []
    for metric in headline_of(study):
        for first in range(0, len(study["tasks"]), PANELS):
            tasks = study["tasks"][first : first + PANELS]
            drawn = see_saw(study, metric, tasks, towers, to=to, emphasized=subject(study))
            part = f", tasks {first + 1} to {first + len(tasks)}" if first else ""
            other = HOME if to == "home" else study["against"]
            pictures.append(
                chart(f"{metric.title or metric.heading} minus {other}'s{part}", "", drawn)
            )
    return pictures


def _metrics(study: Json) -> Markup:
    parts = []
    for metric in headline_of(study):
        rows = [
            [
                Cell(tower),
                *(
                    _mean_cell(study["summary"][metric.name][task][tower])
                    for task in study["tasks"]
                ),
            ]
            for tower in study["towers"]
        ]
        parts.append(heading(metric.title or metric.heading))
        parts.append(table(["tower", *study["tasks"]], rows, sortable=True))
    return section(
        "Metrics",
        note(page_caption(study)),
        *parts,
        folded("Every metric, one line each", _all(study)),
    )


def _mean_cell(row: Json) -> Cell:
    mark = MARKS[row["against"]["conclusion"]] if row["against"] else ""
    return Cell(f"{mark} {mean_text(row)}".strip(), _number(row["mean"]))


def _all(study: Json) -> Markup:
    """Return a table by metric, task and tower, with both differences if there are any."""
    alone = is_alone(study)
    rows = []
    for metric in metrics_of(study):
        for task in study["tasks"]:
            for tower in study["towers"]:
                row = study["summary"][metric.name][task][tower]
                rows.append(
                    [
                        Cell(tower),
                        Cell(task),
                        Cell(metric.heading),
                        Cell(str(row["n"]), row["n"]),
                        Cell(plain(row["mean"]), _number(row["mean"])),
                        Cell(signed(row["deviation"])[1:], _number(row["deviation"])),
                        *([] if alone else _difference_cells(row["against"])),
                        *([] if alone else _difference_cells(row["home"])),
                    ]
                )
    headings = ["tower", "task", "metric", "seeds", "mean", "deviation"]
    if alone:
        return table(headings, rows, sortable=True)
    headings += [f"minus {study['against']}", "conclusion", "minus home", "conclusion"]
    text = "Calibration is compared by its distance to 1."
    text += " ± is one standard error." if has_errors(study) else ""
    return note(text) + table(headings, rows, sortable=True)


def _difference_cells(found: Json | None) -> list[Cell]:
    if found is None or found["mean"] is None:
        return [Cell("-", math.nan), Cell("")]
    return [Cell(difference_text(found), found["mean"]), Cell(found["conclusion"])]


def _costs(study: Json) -> Markup:
    rows = [
        [Cell(text) if heading == "tower" else Cell(text, _sort_key(text)) for heading, text in row]
        for row in (list(row.items()) for row in cost_rows(study))
    ]
    text = (
        "Parameters and floating-point operations (per sample, forward and backward) of the tower, "
        "without the tables, which are the same for all. Training is the time of the steps, "
        "without start and evaluations, while other runs were active on the machine."
    )
    return section("Costs", note(text), table(list(next(cost_rows(study))), rows, sortable=True))


def _sort_key(text: str) -> float:
    """Parse '1,234', '2.5k' or '1:05' as a number."""
    if text == "-":
        return math.nan
    if ":" in text:
        value = 0.0
        for part in text.split(":"):
            value = 60 * value + int(part)
        return value
    scale = {"k": 1e3, "M": 1e6}.get(text[-1], 1.0)
    return float(text.rstrip("kM").replace(",", "")) * scale


def _health(study: Json) -> Markup:
    rows, silent = [], []
    for tower in study["towers"]:
        found = findings(study, tower)
        if found is None:
            silent.append(tower)
            continue
        for finding, seeds in sorted(found, key=lambda each: each[0]["severity"] != WRONG):
            parts = [finding["severity"], finding["kind"], finding["text"]]
            parts.append(", ".join(map(str, seeds)))
            rows.append([Cell(tower), *map(Cell, parts)])
    headings = ["tower", "severity", "of", "finding", "seeds"]
    shown = [prose(table(headings, rows, sortable=True))] if rows else []
    if silent:
        shown.append(missing(f"a diagnosis in health.json of {', '.join(silent)}"))
    return section("Experts' health", *shown)


def _runs(study: Json) -> Markup:
    items = []
    for tower in study["towers"]:
        runs = [run for run in study["runs"] if run["tower"] == tower]
        done = [
            (f"seed {run['seed']}", f"{run['folder']}/report.html")
            for run in runs
            if run["status"] == "done"
        ]
        items.append((tower, done))
    failed = [run for run in study["runs"] if run["error"]]
    rows = [[Cell(f"{run['tower']} seed {run['seed']}"), Cell(run["error"])] for run in failed]
    parts = [heading("Failed"), table(["run", "why"], rows)] if rows else []
    return section("Reports of the runs", links(items), *parts)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
