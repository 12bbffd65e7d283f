"""Writes map.html, and the tables of the console. Reads only map.json; does not import torch."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup
from rich.table import Table

from pipeline.experiments.file_types import HOME
from pipeline.experiments.map.design import MapPlan
from pipeline.experiments.map.dials import BASE, dials_text
from pipeline.experiments.map.map_charts import by_dials, heat_map, limit_of
from pipeline.experiments.map.map_folder import PAGE
from pipeline.experiments.map.map_words import answers, dial_text, region_text, signed
from pipeline.experiments.map.summary import KINDS
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.io.text_table import text_table
from pipeline.report.page import (
    Cell,
    chart,
    charts,
    header,
    missing,
    note,
    number,
    page,
    prose,
    section,
    summary,
    table,
)
from pipeline.report.page import answers as answer_lines

_SHOWN = 12
_SCORE = (
    "The score of a tower is its regret to the true probabilities divided by the entropy of the "
    "task's rate, in percent, averaged over tasks: its normalized entropy minus the oracle's, "
    "times 100. Each value is HoME's score minus that of the best rival, so below 0 HoME is "
    "better; ± is one standard error over seeds, and bold is beyond two. The rival is the one with "
    "the lowest score on validation rows of the other seeds."
)


def write_map_page(out: Path, plan: MapPlan, found: Json, place: Json | None = None) -> Path:
    """Write `out`/map.html atomically and return its path. `place`: see place.py."""
    name = out.resolve().name
    body = (
        _header(name, found),
        section("The answer", answer_lines(answers(found))),
        *([_place(place)] if place else []),
        _heat_maps(plan, found, place),
        _anomalies(found),
        _cells(found),
    )
    path = out / PAGE
    write_text(path, page(f"{name}: homerec map", body))
    return path


def _header(name: str, found: Json) -> Markup:
    items = [
        ("Cells", str(len(found["cells"]))),
        ("Towers", ", ".join(found["towers"])),
        ("Seeds", str(len(found["seeds"]))),
        ("Cells and seeds done", f"{found['done']} of {found['jobs']}"),
    ]
    what = "Simulated tasks with known probabilities; all towers near HoME's FLOPs, at equal steps."
    return header(name, what, summary(items))


def _heat_maps(plan: MapPlan, found: Json, place: Json | None) -> Markup:
    cells = by_dials(found)
    if not cells:
        return section("HoME minus best rival", missing("a finished cell"))
    limit = limit_of(cells)
    middle = ", ".join(f"{name} {value:,g}" for name, value in asdict(BASE).items())
    pictures = [
        chart(f"{grid.x} and {grid.y}", "", heat_map(grid, cells, limit, place and place["dials"]))
        for grid in plan.grids
    ]
    text = f"{_SCORE} The other dials are in the middle: {middle}."
    return section("HoME minus best rival", note(text), charts(pictures))


def _place(place: Json) -> Markup:
    rows = [
        [Cell(name), Cell(dial_text(value), value), Cell(place["sources"][name])]
        for name, value in place["dials"].items()
    ]
    return section(
        f"Your data: {place['data']}",
        answer_lines([("The nearest cells say:", place["verdict"])]),
        prose(table(["dial", "value", "how"], rows)),
    )


def _anomalies(found: Json) -> Markup:
    rows = [
        [Cell(tower), *(Cell(f"{of[kind]:.0%}", of[kind], of[kind]) for kind in KINDS)]
        for tower, of in found["anomalies"].items()
    ]
    text = "Share of runs (cells and seeds) with at least one expert or task that has the anomaly."
    return section("Anomalies", note(text), table(["tower", *KINDS], rows, sortable=True))


def _cells(found: Json) -> Markup:
    if not found["cells"]:
        return section("All cells", missing("a finished cell"))
    headings = ["cell", "HoME - rival", "±", "rival", "AUC", "conclusion", *found["towers"]]
    rows = [
        [
            Cell(_title(cell)),
            number(cell["difference"]["mean"], "+.3f"),
            number(cell["difference"]["error"], ".3f"),
            Cell(cell["rival"]),
            number(cell["auc_difference"]["mean"], "+.4f"),
            Cell(cell["difference"]["conclusion"]),
            *(
                Cell(_score_text(cell["towers"][tower]), _mean(cell["towers"][tower]))
                for tower in found["towers"]
            ),
        ]
        for cell in found["cells"]
    ]
    text = (
        "'AUC' is HoME's minus the rival's, averaged over tasks and seeds. The columns of towers "
        "are scores, with c, d and u for collapse, degradation and underfitting in at least half "
        "of the seeds."
    )
    return section("All cells", note(text), table(headings, rows, sortable=True))


def _title(cell: Json) -> str:
    kind = cell["title"] or ("random" if cell["is_random"] else "")
    (dials,) = by_dials({"cells": [cell]})
    return f"{kind}: {dials_text(dials)}" if kind else dials_text(dials)


def _score_text(tower: Json) -> str:
    seeds = tower["score"]["n"]
    if not seeds:
        return "diverged"
    marks = "".join(kind[0] for kind in KINDS if 2 * tower["faults"][kind] >= seeds)
    return f"{_mean(tower):.2f} {marks}".rstrip()


def _mean(tower: Json) -> float:
    mean = tower["score"]["mean"]
    return math.nan if mean is None else float(mean)


def cell_table(found: Json) -> Table:
    """Return the cells with the largest differences, by standard errors, both ways."""
    view = text_table(
        "HoME minus best rival (points of normalized entropy; below 0 HoME is better)",
        ["cell", "rival"],
        ["difference", HOME, "AUC"],
    )
    ranked = sorted(found["cells"], key=lambda cell: cell["difference"]["mean"])
    half = _SHOWN // 2
    shown = ranked if len(ranked) <= _SHOWN else [*ranked[:half], *ranked[-half:]]
    for cell in shown:
        view.add_row(
            _title(cell),
            cell["rival"],
            signed(cell["difference"]),
            f"{_mean(cell['towers'][HOME]):.2f}",
            f"{cell['auc_difference']['mean']:+.4f}",
        )
    return view


def rule_table(found: Json) -> Table:
    """Return the regions of the rule."""
    view = text_table("Regions of the rule", ["region", "conclusion"])
    for region in found["rule"]["regions"]:
        view.add_row(region_text(region), region["conclusion"])
    return view


def anomaly_table(found: Json) -> Table:
    """Return the share of runs with each anomaly."""
    view = text_table("Runs with an anomaly", ["tower"], KINDS)
    for tower, of in found["anomalies"].items():
        view.add_row(tower, *(f"{of[kind]:.0%}" for kind in KINDS))
    return view


def place_table(place: Json) -> Table:
    """Return the measured dials of a prepared folder."""
    view = text_table(f"Dials of {place['data']}", ["dial"], ["value"])
    view.add_column("how", overflow="fold")
    for name, value in place["dials"].items():
        view.add_row(name, dial_text(value), place["sources"][name])
    return view
