"""Tables of a study, for the screen and table.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from pipeline.experiments.paired import ERRORS
from pipeline.experiments.study import has_errors, is_alone, metrics_of, most_seeds
from pipeline.experiments.study_findings import (
    answer,
    difference_text,
    plain,
    signed,
)
from pipeline.io.files import write_text
from pipeline.io.json_types import Json
from pipeline.io.text_table import add_number, text_table
from pipeline.metrics.spec import MetricSpec
from pipeline.tracking.progress_line import duration_text, speed_text

MARKS = {"better": "▲", "worse": "▼", "inconclusive": ""}


def metric_tables(study: Json, metric: MetricSpec, width: int) -> list[Table]:
    """A row a tower, a column a task: mean ± deviation, and below it the difference.

    As many tables as it takes for none to be wider than `width`.
    """
    title = f"{metric.heading} on the {study['split']} split: {_caption(study, metric)}"
    cells = {
        task: [_cell(study["summary"][metric.name][task][tower]) for tower in study["towers"]]
        for task in study["tasks"]
    }
    room = width - 2 - max(len(tower) for tower in ("tower", *study["towers"]))
    tables: list[tuple[Table, list[list[str]]]] = []
    left = 0
    for task, column in cells.items():
        need = 2 + max(len(line) for text in (task, *column) for line in text.split("\n"))
        if not tables or need > left:
            tables.append((text_table(None, ["tower"]), [list(study["towers"])]))
            left = room
        view, columns = tables[-1]
        add_number(view, task)
        columns.append(column)
        left -= need
    tables[0][0].title = title
    for view, columns in tables:
        for row in zip(*columns, strict=True):
            view.add_row(*row)
    return [view for view, _ in tables]


def _cell(row: Json) -> str:
    return f"{mean_text(row)}\n{_difference(row)}".rstrip()


def _caption(study: Json, metric: MetricSpec) -> str:
    """Describe the cells of a table."""
    many = most_seeds(study) > 1
    mean = "mean ± deviation over seeds" if many else "one seed, so without deviation"
    if is_alone(study):
        return f"{mean}; one tower, so no difference"
    what = (
        "difference in distance to 1 from" if metric.higher_is_better is None else "difference to"
    )
    errors = "± standard error (▲ better, ▼ worse)"
    return f"{mean}; {what} {study['against']} " + (
        errors if has_errors(study) else "of one seed, so without error and conclusion"
    )


def page_caption(study: Json) -> str:
    """Describe the cells on the page, which have marks, but no differences."""
    many = most_seeds(study) > 1
    text = "Mean ± sample deviation over seeds" if many else "One seed's metrics, no deviation,"
    text += f" on the {study['split']} split"
    if is_alone(study):
        text += "; one tower, so no differences"
    elif has_errors(study):
        text += (
            f"; {MARKS['better']} better, {MARKS['worse']} worse than {study['against']} by more "
            f"than {ERRORS:.0f} standard errors"
        )
    else:
        text += "; no standard error, so no conclusions"
    return text + ". Click a heading to sort."


def cost_table(study: Json) -> Table:
    heading, *others = next(cost_rows(study))
    view = text_table("Costs", [heading], others)
    for row in cost_rows(study):
        view.add_row(*row.values())
    return view


def cost_rows(study: Json) -> Iterator[dict[str, str]]:
    """Yield size, cost and time of each tower, as text by heading."""
    for tower, about in study["towers"].items():
        runs = [run for run in study["runs"] if run["tower"] == tower and run["status"] == "done"]
        seconds = [run["seconds"] for run in runs]
        speeds = [run["samples_per_s"] for run in runs if run["samples_per_s"]]
        yield {
            "tower": tower,
            "runs": str(len(runs)),
            "parameters": f"{about['parameters']:,}",
            "MFLOP per sample": f"{about['flops'] / 1e6:.2f}",
            "training": duration_text(sum(seconds) / len(seconds)) if seconds else "-",
            "samples/s": speed_text(sum(speeds) / len(speeds)) if speeds else "-",
        }


def mean_text(row: Json) -> str:
    """Format as '0.7230 ± .0011'."""
    if row["deviation"] is None:
        return plain(row["mean"])
    return f"{plain(row['mean'])} ± {signed(row['deviation'])[1:]}"


def _difference(row: Json) -> str:
    found = row["against"]
    if found is None or found["mean"] is None:
        return ""
    return f"{MARKS[found['conclusion']]} {difference_text(found)}".strip()


def write_markdown(out: Path, study: Json) -> Path:
    """Write `out`/table.md: the answers, one table per metric, the costs, the notes."""
    counts = ", ".join(
        f"{len(study[what])} {what if len(study[what]) > 1 else what[:-1]}"
        for what in ("towers", "seeds")
    )
    lines = [f"# {study['recipe']}: {counts}", ""]
    for question, text in answer(study):
        lines += [f"**{question}** {text}", ""]
    for metric in metrics_of(study):
        lines += [f"## {metric.heading}, {study['split']} split", ""]
        lines += [f"Cells: {_caption(study, metric)}."]
        lines += ["", *_grid(["tower", *study["tasks"]])]
        for tower in study["towers"]:
            rows = [study["summary"][metric.name][task][tower] for task in study["tasks"]]
            cells = [
                f"{mean_text(row)} ({text})" if (text := _difference(row)) else mean_text(row)
                for row in rows
            ]
            lines.append(_line([tower, *cells]))
        lines.append("")
    lines += ["## Costs", "", *_grid(list(next(cost_rows(study))))]
    lines += [_line(list(row.values())) for row in cost_rows(study)]
    lines += ["", *(f"- {note}" for note in study["notes"])]
    path = out / "table.md"
    write_text(path, "\n".join(lines).rstrip() + "\n")
    return path


def _grid(headings: list[str]) -> list[str]:
    return [_line(headings), "|" + "---|" * len(headings)]


def _line(cells: list[str]) -> str:
    # Escape bars, which end a cell, and stars, which start emphasis: 'mmoe*'.
    return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
