"""A study as tables: on the screen, and table.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from pipeline.files import write_text
from pipeline.paired import FIGURES, Figure
from pipeline.progress import duration_text, speed_text
from pipeline.report_files import Json
from pipeline.study_words import TITLES, answer, difference_text, plain, signed

MARKS = {"better": "▲", "worse": "▼", "no telling": ""}


def figure_table(study: Json, figure: Figure) -> Table:
    """A row a tower, a column a task: mean ± deviation, and below it the difference."""
    title = (
        f"{TITLES[figure]} on the {study['split']} split: mean ± deviation over seeds; below, "
        f"difference to {study['against']} ± standard error (▲ better, ▼ worse)"
    )
    view = Table(title=title, title_justify="left", show_lines=True)
    view.add_column("tower", no_wrap=True)
    for task in study["tasks"]:
        view.add_column(task, justify="right", no_wrap=True)
    for tower in study["towers"]:
        rows = [study["summary"][figure][task][tower] for task in study["tasks"]]
        view.add_row(tower, *(f"{mean_text(row)}\n{_difference(row)}" for row in rows))
    return view


def cost_table(study: Json) -> Table:
    view = Table(title="Costs", title_justify="left")
    headings = list(next(cost_rows(study)))
    for heading in headings:
        view.add_column(heading, justify="left" if heading == "tower" else "right")
    for row in cost_rows(study):
        view.add_row(*row.values())
    return view


def cost_rows(study: Json) -> Iterator[dict[str, str]]:
    """A tower's size, work and time, as text by heading."""
    for tower, about in study["towers"].items():
        runs = [run for run in study["runs"] if run["tower"] == tower and run["status"] == "done"]
        seconds = [run["seconds"] for run in runs]
        speeds = [run["samples_per_s"] for run in runs if run["samples_per_s"]]
        yield {
            "tower": tower,
            "runs": str(len(runs)),
            "parameters": f"{about['parameters']:,}",
            "MFLOP a sample": f"{about['flops'] / 1e6:.2f}",
            "training": duration_text(sum(seconds) / len(seconds)) if seconds else "-",
            "samples/s": speed_text(sum(speeds) / len(speeds)) if speeds else "-",
        }


def mean_text(row: Json) -> str:
    """'0.7230 ± .0011'."""
    if row["deviation"] is None:
        return plain(row["mean"])
    return f"{plain(row['mean'])} ± {signed(row['deviation'])[1:]}"


def _difference(row: Json) -> str:
    found = row["against"]
    if found is None or found["mean"] is None:
        return ""
    return f"{MARKS[found['verdict']]} {difference_text(found)}".strip()


def write_markdown(out: Path, study: Json) -> Path:
    """`out`/table.md: the answer, a table a figure, the costs, the notes."""
    lines = [f"# {study['recipe']}: {len(study['towers'])} towers, {len(study['seeds'])} seeds", ""]
    for question, text in answer(study):
        lines += [f"**{question}** {text}", ""]
    for figure in FIGURES:
        lines += [f"## {TITLES[figure]}, {study['split']} split", ""]
        what = "difference in distance to 1 from" if figure == "calibration" else "difference to"
        lines += [f"Mean ± deviation over seeds ({what} {study['against']} ± standard error)"]
        lines += ["", *_grid(["tower", *study["tasks"]])]
        for tower in study["towers"]:
            rows = [study["summary"][figure][task][tower] for task in study["tasks"]]
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
    # A bar would end the cell, a star begin emphasis: 'mmoe*'.
    return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
