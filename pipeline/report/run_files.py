"""The files of a run's folder, as a report reads them. No torch: a report is made anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.io.errors import UserError
from pipeline.io.files import read_text
from pipeline.io.json_types import Json
from pipeline.io.typed_json import parse_typed, read_typed
from pipeline.report.file_types import (
    ConfigFile,
    HealthFile,
    LogLine,
    PlanFile,
    ResultsFile,
    SchemaFile,
)

_REMEDY = "remove the damaged line or file"

Points = tuple[list[int], list[float | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """What a run wrote; None for a file that is not there."""

    folder: Path
    train: list[Json]
    """Lines of metrics.jsonl of kind 'train', by step."""
    evals: list[Json]
    """Lines of kind 'eval'."""
    probes: list[Json]
    """Lines of kind 'health': the experts while they train."""
    results: Json | None
    health: Json | None
    plan: Json | None
    config: Json | None
    schema: Json | None

    @property
    def tasks(self) -> list[str]:
        """In the order of the results, or of the log where there are none."""
        if self.results:
            return list(self.results["tasks"])
        lines = [*self.train[-1:], *self.evals[-1:]]
        names = [name for line in lines for name in line]
        losses = [name.removeprefix("loss/") for name in names if name.startswith("loss/")]
        aucs = [name.removesuffix("/auc") for name in names if name.endswith("/auc")]
        return [task for task in dict.fromkeys([*losses, *aucs]) if task != "total"]

    def points(self, name: str) -> Points:
        """Steps and values of a metric in training; None where it was not finite."""
        lines = [line for line in self.train if name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]

    def probe_points(self, part: str, metric: str) -> dict[str, Points]:
        """Name -> steps and values of 'PART/NAME/METRIC' over the probes."""
        found: dict[str, Points] = {}
        begin, end = f"{part}/", f"/{metric}"
        for line in self.probes:
            for key, value in line.items():
                if key.startswith(begin) and key.endswith(end):
                    name = key.removeprefix(begin).removesuffix(end)
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(line["step"])
                    values.append(value)
        return found

    def eval_points(self, name: str) -> dict[str, Points]:
        """The same in evaluations, by split."""
        found: dict[str, Points] = {}
        for line in self.evals:
            if name in line:
                steps, values = found.setdefault(line["split"], ([], []))
                steps.append(line["step"])
                values.append(line[name])
        return found


def read_run(folder: Path) -> RunFiles:
    """UserError if `folder` holds no run's metrics, or a file of it is damaged."""
    log = folder / "metrics.jsonl"
    if not log.is_file():
        raise UserError(
            f"{folder}: no metrics.jsonl, so no run to report on; "
            "name the folder that 'homerec train --out' made"
        )
    text = read_text(log, remedy=_REMEDY)
    # A line without its end is still being written, or was cut off.
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    lines: list[Json] = [
        parse_typed(line, LogLine, where=f"{log}: line {number}", remedy=_REMEDY)
        for number, line in enumerate(whole, start=1)
    ]
    if not lines:
        raise UserError(
            f"{log}: empty, the run ended before its first log line; train again, "
            "or with a smaller --train.log_every"
        )
    return RunFiles(
        folder=folder,
        train=[line for line in lines if line["kind"] == "train"],
        evals=[line for line in lines if line["kind"] == "eval"],
        probes=[line for line in lines if line["kind"] == "health"],
        results=_read(folder / "results.json", ResultsFile),
        health=_read(folder / "health.json", HealthFile),
        plan=_read(folder / "plan.json", PlanFile),
        config=_read(folder / "config.json", ConfigFile),
        schema=_read(folder / "schema.json", SchemaFile),
    )


def _read(path: Path, kind: Any) -> Json | None:
    return read_typed(path, kind, remedy=_REMEDY) if path.is_file() else None
