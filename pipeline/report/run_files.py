"""Reads the files of a run for a report. Does not import torch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.io.errors import UserError
from pipeline.io.files import has_file, line_text
from pipeline.io.json_types import Json
from pipeline.io.set_aside import where_instead
from pipeline.io.typed_json import parse_typed, read_typed
from pipeline.report.file_types import (
    ConfigFile,
    HealthFile,
    LogLine,
    PlanFile,
    ResultsFile,
    SchemaFile,
)
from pipeline.report.series import Points, Series

_HEAD = ("kind", "step", "time", "split")
_REMEDY = "remove the damaged line or file"


class Log:
    """What metrics.jsonl says, in as much memory for a million lines as for a thousand."""

    def __init__(self) -> None:
        self.train: defaultdict[str, Series] = defaultdict(Series)
        """By name: metrics in training."""
        self.evals: defaultdict[str, defaultdict[str, Series]] = defaultdict(
            lambda: defaultdict(Series)
        )
        """By name, then by split."""
        self.probes: defaultdict[str, Series] = defaultdict(Series)
        """By name: the experts while they train."""
        self.steps_over_speed = 0.0
        """Times the rows of a step: seconds of training."""
        self._train_step = 0
        self.last_step = 0
        self.first_time = float("inf")
        self.last_time = float("-inf")

    def add(self, line: Json) -> None:
        """A line of the file, a LogLine."""
        kind, step, time = line["kind"], line["step"], line["time"]
        values = {name: value for name, value in line.items() if name not in _HEAD}
        if kind == "eval":
            for name, value in values.items():
                self.evals[name][line["split"]].add(step, value)
        elif kind in ("train", "health"):
            series = self.train if kind == "train" else self.probes
            for name, value in values.items():
                series[name].add(step, value)
            if kind == "train":
                if speed := values.get("samples_per_s"):
                    self.steps_over_speed += (step - self._train_step) / speed
                self._train_step = step
        self.last_step = max(self.last_step, step)
        self.first_time = min(self.first_time, time)
        self.last_time = max(self.last_time, time)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """The files of a run; None for missing files."""

    folder: Path
    log: Log
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
        names = [*self.log.train, *self.log.evals]
        losses = [name.removeprefix("loss/") for name in names if name.startswith("loss/")]
        aucs = [name.removesuffix("/auc") for name in names if name.endswith("/auc")]
        return [task for task in dict.fromkeys([*losses, *aucs]) if task != "total"]

    def points(self, name: str) -> Points:
        """Steps and values of a metric in training; None where it was not finite."""
        found = self.log.train.get(name)
        return ([], []) if found is None else found.points()

    def probe_points(self, part: str, metric: str) -> dict[str, Points]:
        """Name -> steps and values of 'PART/NAME/METRIC' over the probes."""
        begin, end = f"{part}/", f"/{metric}"
        return {
            key.removeprefix(begin).removesuffix(end): series.points()
            for key, series in self.log.probes.items()
            if key.startswith(begin) and key.endswith(end)
        }

    def eval_points(self, name: str) -> dict[str, Points]:
        """The same in evaluations, by split."""
        if name not in self.log.evals:
            return {}
        return {split: series.points() for split, series in self.log.evals[name].items()}


def read_run(folder: Path) -> RunFiles:
    """UserError if `folder` holds no run's metrics, or a file of it is damaged."""
    log = folder / "metrics.jsonl"
    if not has_file(log):
        raise UserError(
            f"{folder}: no metrics.jsonl, so no run to report on; "
            f"give the folder of 'homerec train --out'{where_instead(folder)}"
        )
    return RunFiles(
        folder=folder,
        log=_read_log(log),
        results=_read(folder / "results.json", ResultsFile),
        health=_read(folder / "health.json", HealthFile),
        plan=_read(folder / "plan.json", PlanFile),
        config=_read(folder / "config.json", ConfigFile),
        schema=_read(folder / "schema.json", SchemaFile),
    )


def _read_log(path: Path) -> Log:
    """One line after the other; the last one without an end is still being written."""
    log = Log()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                where = f"{path}: line {number}"
                text = line_text(line, where=where, first=number == 1, remedy=_REMEDY)
                log.add(parse_typed(text, LogLine, where=where, remedy=_REMEDY))
    if log.last_time < log.first_time:
        raise UserError(
            f"{path}: empty, the run ended before its first log line; train again, "
            "or with a smaller --train.log_every"
        )
    return log


def _read(path: Path, kind: Any) -> Json | None:
    return read_typed(path, kind, remedy=_REMEDY) if has_file(path) else None
