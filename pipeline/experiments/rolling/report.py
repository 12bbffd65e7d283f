"""Writes report.html and forest.svg of a rolling study. Reads only study.json."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from pipeline.experiments.rolling.findings import answer, verdicts
from pipeline.experiments.rolling.forest import forest
from pipeline.experiments.rolling.tables import Rows, all_tables
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.report.page import (
    Cell,
    answers,
    folded,
    header,
    links,
    note,
    page,
    prose,
    section,
    summary,
    table,
)

FOREST = "forest.svg"


def write_rolling_report(out: Path, study: Json) -> Path:
    """Write `out`/report.html and, with results, `out`/forest.svg; returns the page's path."""
    name = out.resolve().name
    body = [
        _header(name, study),
        section("The answer", answers(answer(study)), *(note(text) for text in study["notes"])),
    ]
    if study["summary"]:
        picture = forest(study, study["subject"])
        write_text(out / FOREST, str(picture))
        text = (
            "Point: mean over origins and seeds; bar: 95% interval of one comparison. Green and "
            "orange: significant after correction within the metric."
        )
        body.append(section("Difference to the best rival", note(text), picture))
    for title, rows in all_tables(study):
        body.append(section(title, _table(rows)))
    if found := list(verdicts(study)):
        cells = [[Cell(tower), Cell(task), Cell(text)] for tower, task, text in found]
        shown = prose(table(["tower", "task", "verdict"], cells, sortable=True))
        body.append(section("Verdicts", folded("Every tower and task", shown)))
    body.append(section("Reports of the runs", links(_links(study))))
    path = out / "report.html"
    write_text(path, page(f"{name}: homerec rolling study", body))
    return path


def _header(name: str, study: Json) -> Markup:
    done = sum(run["status"] == "done" for run in study["runs"])
    options = study["options"]
    items = [
        ("Towers", str(len(study["towers"]))),
        ("Seeds", ", ".join(map(str, study["seeds"]))),
        ("Test days", str(len(study["origins"]))),
        ("Runs finished", f"{done} of {len(study['runs'])}"),
        ("Trials per tower", f"{options['trials']}, at the {_where(options['tune_at'])}"),
        ("Chosen by", f"{study['select']} on the day after training"),
        ("Widths matched by", study["match"] or "not matched"),
    ]
    what = f"data {study['dataset']}; recipe {study['recipe']}; tasks {', '.join(study['tasks'])}"
    what += f"; search space {' '.join(study['search'])}"
    return header(name, what, summary(items))


def _where(tune_at: str) -> str:
    return "first origin" if tune_at == "first" else "every origin"


def _table(rows: Rows) -> Markup:
    return table(list(rows[0]), [[Cell(text) for text in row.values()] for row in rows])


def _links(study: Json) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (
            tower,
            [
                (f"{run['origin']} seed {run['seed']}", f"{run['folder']}/report.html")
                for run in study["runs"]
                if run["tower"] == tower and run["status"] == "done"
            ],
        )
        for tower in study["towers"]
    ]
