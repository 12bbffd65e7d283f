"""What study.json, a run's outcome.json and tune.json hold, and that their parts fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config
from typing_extensions import TypedDict

from pipeline.experiments.paired import Conclusion
from pipeline.io.typed_json import CLOSED, OPEN, Count, Number, Time
from pipeline.metrics.spec import headline
from pipeline.report.file_types import Finding, Results

HOME = "home"
VERSION = 2
Seed = Annotated[int, Field(ge=0, lt=2**31)]


@with_config(OPEN)
class OutcomeFile(TypedDict):
    """outcome.json of a study's run."""

    version: Literal[2]
    step: Count
    val: Results
    test: Results | None


def _run(run: dict[str, Any]) -> dict[str, Any]:
    if run["status"] == "done":
        for name in ("step", "seconds", "samples_per_s", "val", "test", "findings"):
            if name not in run:
                raise ValueError(f"finished run lacks {name!r}")
    return run


@with_config(OPEN)
class _Run(TypedDict):
    tower: str
    seed: Seed
    folder: Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]+/seed-[0-9]+\z")]
    status: Literal["done", "failed", "stopped", "pending"]
    error: str | None
    step: NotRequired[Count]
    seconds: NotRequired[Time]
    samples_per_s: NotRequired[Number | None]
    val: NotRequired[Results]
    test: NotRequired[Results | None]
    findings: NotRequired[list[Finding] | None]


StudyRun = Annotated[_Run, AfterValidator(_run)]


@with_config(OPEN)
class _Difference(TypedDict):
    n: Count
    mean: Number | None
    error: Number | None
    conclusion: Conclusion


@with_config(OPEN)
class _Row(TypedDict):
    n: Count
    mean: Number | None
    deviation: Number | None
    against: _Difference | None
    home: _Difference | None


@with_config(OPEN)
class _StudyTower(TypedDict):
    folder: str
    parameters: Count
    flops: Count
    config: dict[str, Any]


def _study(study: dict[str, Any]) -> dict[str, Any]:
    for fault in _study_faults(study):
        raise ValueError(fault)
    return study


def _study_faults(study: dict[str, Any]) -> Iterator[str]:
    towers, tasks = set(study["towers"]), set(study["tasks"])
    if study["against"] not in towers:
        yield f"against: {study['against']!r} is not a tower of this study"
    for run in study["runs"]:
        if run["tower"] not in towers:
            yield f"runs: {run['tower']!r} is not a tower of this study"
        if run["status"] == "done" and tasks - set(run[study["split"]] or ()):
            yield f"runs: {run['folder']} lacks tasks in {study['split']!r}"
    for metric in headline():
        if metric.name not in study["summary"] and not metric.of_users:
            yield f"summary: no {metric.name!r}"
    for name, of_task in study["summary"].items():
        if set(of_task) != tasks:
            yield f"summary.{name}: its tasks are not those of the study"
        for task, rows in of_task.items():
            if set(rows) != towers:
                yield f"summary.{name}.{task}: its towers are not those of the study"
            for tower, row in rows.items():
                for key, other in (("against", study["against"]), ("home", HOME)):
                    if (row[key] is None) != (tower == other or other not in towers):
                        fault = "missing" if row[key] is None else "should be null"
                        yield f"summary.{name}.{task}.{tower}.{key}: {fault}"


@with_config(OPEN)
class _Study(TypedDict):
    version: Literal[2]
    recipe: str
    dataset: str
    data: str
    overrides: list[str]
    select: str
    match: str | None
    against: str
    seeds: Annotated[list[Seed], Field(min_length=1)]
    split: Literal["val", "test"]
    tasks: Annotated[list[str], Field(min_length=1)]
    towers: Annotated[dict[str, _StudyTower], Field(min_length=1)]
    runs: list[StudyRun]
    summary: dict[str, dict[str, dict[str, _Row]]]
    rows: dict[str, dict[str, Count]]
    notes: list[str]


StudyFile = Annotated[_Study, AfterValidator(_study)]
"""study.json."""


@with_config(CLOSED)
class SettingsFile(TypedDict):
    """`settings` of tune.json."""

    search: Annotated[list[str], Field(min_length=1)]
    trials: Annotated[Count, Field(ge=1)]
    jobs: Annotated[Count, Field(ge=1)]
    nproc: Annotated[Count, Field(ge=1)]
    seed: Count
    pruner: Literal["median", "none"]
    startup: Count


@with_config(CLOSED)
class _Trial(TypedDict):
    trial: Count
    run: str
    state: Literal["running", "complete", "pruned", "failed"]
    value: Number | None
    params: dict[str, Number | str]
    evaluations: list[Annotated[list[Number], Field(min_length=2, max_length=2)]]
    seconds: Time | None
    error: str | None


def _search(found: dict[str, Any]) -> dict[str, Any]:
    for fault in _search_faults(found):
        raise ValueError(fault)
    return found


def _search_faults(found: dict[str, Any]) -> Iterator[str]:
    trials, best = found["trials"], found["best"]
    kinds: dict[str, set[bool]] = {field: set() for field in found["searches"]}
    for number, trial in enumerate(trials):
        where = f"trials.{number}"
        if trial["trial"] != number:
            yield f"{where}.trial: {trial['trial']} should be {number}"
        if not re.fullmatch(r"trial-\d{4,9}", trial["run"]):
            yield f"{where}.run: {trial['run']!r} is not the folder of a trial"
        if any(not isinstance(rows, int) or rows < 0 for rows, _ in trial["evaluations"]):
            yield f"{where}.evaluations: rows are whole numbers"
        if trial["state"] == "complete" and trial["value"] is None:
            yield f"{where}: complete but has no value"
        if trial["state"] in ("complete", "pruned") and set(trial["params"]) != set(kinds):
            yield f"{where}.params: not the fields that are searched"
        for field, value in trial["params"].items():
            if field in kinds:
                kinds[field].add(isinstance(value, str))
    for field, of_text in kinds.items():
        if len(of_text) > 1:
            yield f"trials: {field} is text in some and a number in others"
    if best is not None and not (best < len(trials) and trials[best]["state"] == "complete"):
        yield f"best: {best} is not a complete trial"


@with_config(OPEN)
class _Search(TypedDict):
    recipe: str
    data: str
    select: str
    lower_is_better: bool
    seed: Count
    log_scale: list[str]
    searches: Annotated[list[str], Field(min_length=1)]
    best: Count | None
    importance: dict[str, Number]
    trials: list[_Trial]
    settings: dict[str, Any]
    config: dict[str, Any]


SearchFile = Annotated[_Search, AfterValidator(_search)]
"""tune.json."""
