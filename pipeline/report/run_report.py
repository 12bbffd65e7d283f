"""Writes report.html of a run: setup, progress, results and next steps.

Reads only the files in the run folder; does not import torch.
"""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from markupsafe import Markup

from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.metrics.spec import METRICS, result_columns
from pipeline.metrics.without_user import rows_without_user
from pipeline.report import charts as curves
from pipeline.report.experts import experts_section
from pipeline.report.page import (
    Cell,
    chart,
    charts,
    commands,
    folded,
    header,
    key,
    missing,
    note,
    number,
    page,
    section,
    source,
    summary,
    table,
)
from pipeline.report.run_files import RunFiles, read_run
from pipeline.tracking.progress_line import duration_text, speed_text


def write_report(run: Path) -> Path:
    """Write `run`/report.html atomically and return its path.

    Raises UserError if `run` has no metrics or a damaged file.
    """
    files = read_run(run)
    name = run.resolve().name
    body = (
        _header(name, files),
        _results(files),
        _training(files),
        experts_section(files),
        _plan(files.plan),
        _config(files.config),
        _where_next(files),
    )
    path = run / "report.html"
    write_text(path, page(f"{name}: homerec run", body))
    return path


def _header(name: str, run: RunFiles) -> Markup:
    first, last = run.log.first_time, run.log.last_time
    begin, end = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC" for at in (first, last))
    items = [("Steps logged", f"{run.log.last_step:,}")]
    if run.schema:
        rows = [f"{split}\u00a0{part['rows']:,}" for split, part in run.schema["splits"].items()]
        items.append(("Rows", ", ".join(rows)))
    if speeds := [value for value in run.points("samples_per_s")[1] if value is not None]:
        items.append(("Median speed", f"{speed_text(median(speeds))} samples/s"))
    items.append(("First log line", begin))
    items.append(("Last log line", f"{end}, {duration_text(last - first)} later"))
    what = [f"data {run.schema['dataset']}"] if run.schema else []
    if run.config:
        what.append(f"recipe {run.config['recipe']}")
        what.append(f"tower {run.config['model']['tower']['kind']}")
    what.append(f"tasks {', '.join(run.tasks)}")
    return header(name, "; ".join(what), summary(items))


def _results(run: RunFiles) -> Markup:
    if run.results is None:
        return section("Results", missing("results.json, written with the first evaluation"))
    tasks = run.results["tasks"]
    shown = [
        (name, heading, digits)
        for name, heading, digits in result_columns()
        if any(name in row for row in tasks.values())
    ]
    rows = []
    for task, row in tasks.items():
        counts = [number(row[name], ",d") for name in ("rows", "positives")]
        rows.append(
            [
                Cell(task),
                *counts,
                *(number(row.get(name), f".{digits}f") for name, _, digits in shown),
            ]
        )
    text = (
        f"On the {run.results['split']} split, after step {run.results['step']:,}. "
        + (
            "AUC and GAUC (AUC within users)"
            if any("gauc" in row for row in tasks.values())
            else "AUC"
        )
        + ": 0.5 is chance, 1 is perfect. NE (normalized entropy): below 1 beats "
        "predicting the base rate. Calibration: predicted over observed, 1 is perfect."
    )
    if any(name == "oracle_auc" for name, *_ in shown):
        text += (
            " The oracle is the model with the true probabilities, the best any model can reach."
        )
    if left_out := rows_without_user(tasks):
        text += f" {left_out}"
    headings = ["task", "rows", "positives", *(heading for _, heading, _ in shown)]
    return section("Results", note(text), table(headings, rows))


def _is_without_users(run: RunFiles) -> bool:
    """Whether the data has no user column."""
    return run.schema is not None and run.schema.get("user_column", "") is None


def _training(run: RunFiles) -> Markup:
    tasks = key((task, *curves.style(index)) for index, task in enumerate(run.tasks))
    rates = key((name, *curves.style(i)) for i, name in enumerate(curves.LEARNING_RATES))
    text = "Mean over the steps since the previous point."
    found = [
        ("Training loss by task", text, curves.loss_by_task(run), ""),
        ("Training loss, all tasks together", text, curves.total_loss(run), ""),
    ]
    for metric in METRICS:
        if metric.in_tables and not (metric.of_users and _is_without_users(run)):
            figure = curves.metric_by_task(run, metric.name, metric.heading)
            text = f"{metric.note} {_lines_and_points(run, metric.name)}".strip()
            found.append((f"{metric.title or metric.heading} by task", text, figure, ""))
    found.append(("Learning rates", "", curves.learning_rates(run), rates))
    found.append(("Training speed, all ranks together", "", curves.speed(run), ""))
    parts = [chart(*part) for part in found if part[2].data]
    absent = [title[0].lower() + title[1:] for title, _, figure, _ in found if not figure.data]
    tail = [missing(f"{', '.join(absent)} (nothing in metrics.jsonl)")] if absent else []
    return section("Training", tasks, charts(parts), *tail)


def _lines_and_points(run: RunFiles, metric: str) -> str:
    names = [f"{task}/{metric}" for task in run.tasks]
    splits = sorted({split for name in names for split in run.eval_points(name)})
    text = []
    if any(run.points(name)[0] for name in names):
        text.append("Lines: the last samples in training.")
    if splits:
        text.append(f"Points: all rows of the {' and '.join(splits)} split.")
    return " ".join(text)


def _plan(plan: Json | None) -> Markup:
    if plan is None:
        return section("Embedding tables and their placement", missing("plan.json"))
    tables = sorted(plan["tables"], key=lambda row: -int(row["bytes"]))
    rows = [
        [
            Cell(row["table"]),
            number(row["rows"], ",d"),
            number(row["dim"], "d"),
            Cell(row["dtype"]),
            number(row["bytes"] / 1e6, ",.2f"),
            Cell(row["sharding_type"]),
            Cell(row["compute_kernel"]),
            Cell(", ".join(map(str, row["ranks"]))),
        ]
        for row in tables
    ]
    total = sum(int(row["bytes"]) for row in tables)
    parameters = sum(int(row["rows"]) * int(row["dim"]) for row in tables)
    return section(
        "Embedding tables and their placement",
        note(f"{len(tables)} tables, {parameters:,} parameters, {total / 1e6:,.2f} MB of weights."),
        table(
            ["table", "rows", "dim", "dtype", "MB", "sharding type", "kernel", "ranks"],
            rows,
            sortable=True,
        ),
        charts(
            [
                chart(
                    "Weights of the tables on each rank",
                    "Without optimizer state.",
                    curves.megabytes_by_rank(tables),
                )
            ]
        ),
    )


def _config(config: Json | None) -> Markup:
    if config is None:
        return section("Configuration", missing("config.json"))
    return section("Configuration", folded("config.json", source(json.dumps(config, indent=2))))


def _where_next(run: RunFiles) -> Markup:
    folder = shlex.quote(str(run.folder))
    return section(
        "Next steps",
        commands(
            [
                (
                    "Evaluate on the test split",
                    f"homerec evaluate --checkpoint {folder} --split test",
                ),
                ("View all curves", f"tensorboard --logdir {folder}"),
                ("Write this report again", f"homerec report {folder}"),
            ]
        ),
    )
