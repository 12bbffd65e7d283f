"""Tables of a rolling study, for the screen, table.md and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.table import Table

from pipeline.experiments.rolling.findings import (
    answer,
    best_differences,
    interval,
    p_text,
    verdicts,
)
from pipeline.experiments.study_findings import plain, signed
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.io.text_table import add_number, text_table
from pipeline.metrics.spec import metric_named

Rows = list[dict[str, str]]
"""Text by heading; the first is the row's name."""


def all_tables(study: Json) -> Iterator[tuple[str, Rows]]:
    """Yield title and rows of each table that has any."""
    name = study["subject"]
    tables = [(f"{name} and its best rival on the test days", best_rows(study, name))]
    for metric in study["summary"]:
        heading = metric_named(metric).heading
        tables.append((f"{heading}, mean over origins and seeds", mean_rows(study, metric)))
    tables.append((f"{name} minus its best rival, by test day", origin_rows(study, name)))
    tables.append(("Origins", day_rows(study)))
    tables.append(("Tuning: values on the day after training", tuning_rows(study)))
    tables.append(("Costs, with the tuned widths", cost_rows(study)))
    for title, rows in tables:
        if rows:
            yield title, rows


def best_rows(study: Json, tower: str) -> Rows:
    return [
        {
            "task": task,
            "metric": metric_named(metric).heading,
            tower: plain(row["mean"]),
            "best rival": rival,
            "difference": signed(found["mean"]),
            "95% interval": interval(found),
            "p corrected": p_text(found),
            "": found["conclusion"],
            "seen with 80% power": signed(row["power"]["smallest"])[1:] if row["power"] else "-",
            "rows for .001": f"{row['power']['rows']:,}" if row["power"] else "-",
        }
        for metric, task, rival, found, row in best_differences(study, tower)
    ]


def mean_rows(study: Json, metric: str) -> Rows:
    of_task = study["summary"][metric]
    return [
        {"tower": tower}
        | {task: plain(one["towers"][tower]["mean"]) for task, one in of_task.items()}
        for tower in study["towers"]
    ]


def origin_rows(study: Json, tower: str) -> Rows:
    return [
        {"task": task, "metric": metric_named(metric).heading, "best rival": rival}
        | {one["origin"]: signed(found["by_origin"].get(one["origin"])) for one in study["origins"]}
        for metric, task, rival, found, _ in best_differences(study, tower)
    ]


def day_rows(study: Json) -> Rows:
    return [
        {
            "origin": one["origin"],
            "trained to": one["train_to"],
            "chosen on": one["val"],
            "tested on": one["test"],
            **{f"{split} rows": f"{rows:,}" for split, rows in one["rows"].items()},
        }
        for one in study["origins"]
    ]


def tuning_rows(study: Json) -> Rows:
    return [
        {
            "tower": tower,
            "origin": origin,
            "trials": str(found["trials"]),
            "failed": str(_num_failed(study, tower, origin)),
            study["select"]: plain(found["value"]),
            "untuned": plain(found["untuned"]),
            "chosen": " ".join(f"{field}={_short(v)}" for field, v in found["params"].items()),
        }
        for tower, by_origin in study["tuning"].items()
        for origin, found in by_origin.items()
    ]


def _num_failed(study: Json, tower: str, origin: str) -> int:
    return sum((one["tower"], one["origin"]) == (tower, origin) for one in study["failed_trials"])


def cost_rows(study: Json) -> Rows:
    rows = []
    for tower in study["towers"]:
        tuning = study["tuning"].get(tower, {}).values()
        done = [run for run in study["runs"] if run["tower"] == tower and run["status"] == "done"]
        seconds = [run["cpu_seconds"] for run in done]
        rows.append(
            {
                "tower": tower,
                "runs": str(len(done)),
                "parameters": _span(
                    {one["parameters"]: f"{one['parameters']:,}" for one in tuning}
                ),
                "MFLOP per sample": _span(
                    {one["flops"]: f"{one['flops'] / 1e6:.2f}" for one in tuning}
                ),
                "CPU-seconds per run": f"{sum(seconds) / len(seconds):.1f}" if done else "-",
            }
        )
    return rows


def _span(texts: Mapping[int, str]) -> str:
    """Return the texts of the smallest and largest number; '-' without any."""
    ends = dict.fromkeys(texts[end(texts)] for end in (min, max)) if texts else ("-",)
    return " to ".join(ends)


def _short(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def screen_table(title: str, rows: Rows) -> Table:
    heading, *others = rows[0]
    view = text_table(title, [heading])
    for other in others:
        add_number(view, other)
    for row in rows:
        view.add_row(*row.values())
    return view


def write_markdown(out: Path, study: Json) -> Path:
    """Write `out`/table.md: the answers, every table, a verdict per tower and task, the notes."""
    lines = [f"# {study['recipe']}: rolling origins, {len(study['towers'])} towers", ""]
    for question, text in answer(study):
        lines += [f"**{question}** {text}", ""]
    for title, rows in all_tables(study):
        lines += [f"## {title}", "", *_grid(rows), ""]
    if found := list(verdicts(study)):
        lines += ["## Verdicts", ""]
        lines += [f"- **{_plain(tower)}, {_plain(task)}:** {text}" for tower, task, text in found]
        lines.append("")
    lines += [f"Search space: `{' '.join(study['search'])}`", ""]
    lines += [f"- {note}" for note in study["notes"]]
    path = out / "table.md"
    write_text(path, "\n".join(lines).rstrip() + "\n")
    return path


def _grid(rows: Rows) -> list[str]:
    headings = list(rows[0])
    cells = [_line(headings), "|" + "---|" * len(headings)]
    return cells + [_line(list(row.values())) for row in rows]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Escape bars, which end a cell, and stars, which start emphasis: 'mmoe*'."""
    return text.replace("|", "\\|").replace("*", "\\*")
