"""study.json of a rolling study.

version, protocol, options, recipe, dataset, data, select, match, subject, seeds, tasks, search
origins: [{origin, train_to, val, test, rows: {SPLIT: n}}]
towers: {TOWER: {folder, parameters, flops (per sample, forward and backward), config}}: untuned
tuning: {TOWER: {ORIGIN: {trials, best, value, untuned, params, parameters, flops}}}: of the best
    trial, but `untuned` is the value without tuning, null if the search space lacks it; values are
    of `select` on the val day
failed_trials: [{tower, origin, trial, error}]
runs: [{tower, origin, seed, folder, status, error, step, cpu_seconds, val, test}]; cpu_seconds:
    of all sessions of the run that were not killed
summary: {METRIC: {TASK: {rows, users, left_out: {origins, towers}, towers: {TOWER: {mean,
    by_origin, best_rival, power, rivals: {RIVAL: {mean, error, error_users, error_seeds, freedom,
    low, high, p, p_corrected, by_origin, conclusion}}}}}}}; errors and power are null with too few
    users, all of a row if its tower is left out or has no finished run; {} before two towers have
    finished a run of the same origin and seed
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, with_config
from typing_extensions import TypedDict

from pipeline.experiments.file_types import Seed
from pipeline.experiments.study import NAME
from pipeline.io.claim_folder import FolderKind
from pipeline.io.files import has_file, read_text
from pipeline.io.json_types import Json
from pipeline.io.set_aside import SAVED
from pipeline.io.typed_json import OPEN, Count, Number, Time, read_typed
from pipeline.metrics.clustered import CLUSTERED

VERSION = 2


@with_config(OPEN)
class _Difference(TypedDict):
    mean: Number
    error: Number | None
    error_users: Number | None
    error_seeds: Number | None
    low: Number | None
    high: Number | None
    p: Number | None
    p_corrected: Number | None
    by_origin: dict[str, Number]
    conclusion: Literal["better", "worse", "not significant", "too few users"]


@with_config(OPEN)
class _Power(TypedDict):
    rows: Count
    users: Count
    smallest: Number


@with_config(OPEN)
class _Row(TypedDict):
    mean: Number | None
    by_origin: dict[str, Number]
    best_rival: str | None
    rivals: dict[str, _Difference]
    power: _Power | None


@with_config(OPEN)
class _LeftOut(TypedDict):
    origins: list[str]
    towers: list[str]


@with_config(OPEN)
class _Task(TypedDict):
    rows: Count
    users: Count
    left_out: _LeftOut
    towers: dict[str, _Row]


@with_config(OPEN)
class _Options(TypedDict):
    towers: list[str]
    seeds: list[Seed]
    trials: Count
    tune_at: Literal["first", "every"]


@with_config(OPEN)
class _Rows(TypedDict):
    train: Count
    val: Count
    test: Count


@with_config(OPEN)
class _Origin(TypedDict):
    origin: str
    train_to: str
    val: str
    test: str
    rows: _Rows


@with_config(OPEN)
class _Tower(TypedDict):
    folder: str
    parameters: Count
    flops: Count


@with_config(OPEN)
class _Tuned(TypedDict):
    trials: Count
    best: Count
    value: Number
    untuned: Number | None
    params: dict[str, Number | str]
    parameters: Count
    flops: Count


@with_config(OPEN)
class _FailedTrial(TypedDict):
    tower: str
    origin: str
    trial: Count
    error: str | None


@with_config(OPEN)
class _Run(TypedDict):
    tower: str
    origin: str
    seed: Seed
    folder: str
    status: Literal["done", "failed", "stopped", "pending"]
    error: str | None
    cpu_seconds: Time | None


@with_config(OPEN)
class _Rolling(TypedDict):
    version: Literal[2]
    protocol: Literal["rolling"]
    options: _Options
    recipe: str
    dataset: str
    data: dict[str, Any]
    select: str
    match: str | None
    subject: str
    seeds: Annotated[list[Seed], Field(min_length=1)]
    tasks: Annotated[list[str], Field(min_length=1)]
    origins: Annotated[list[_Origin], Field(min_length=1)]
    search: list[str]
    towers: Annotated[dict[str, _Tower], Field(min_length=2)]
    tuning: dict[str, dict[str, _Tuned]]
    failed_trials: list[_FailedTrial]
    runs: list[_Run]
    summary: dict[str, dict[str, _Task]]
    notes: list[str]


def _checked(study: dict[str, Any]) -> dict[str, Any]:
    for fault in _faults(study):
        raise ValueError(fault)
    return study


def _faults(study: dict[str, Any]) -> Iterator[str]:
    towers, tasks, origins = set(study["towers"]), set(study["tasks"]), study["origins"]
    if study["subject"] not in towers:
        yield f"subject: {study['subject']!r} is not a tower of this study"
    for run in study["runs"]:
        if run["tower"] not in towers:
            yield f"runs: {run['tower']!r} is not a tower of this study"
        if run["status"] == "done" and run["cpu_seconds"] is None:
            yield f"runs: {run['folder']} is done, but lacks cpu_seconds"
    for metric, of_task in study["summary"].items():
        if metric not in CLUSTERED:
            yield f"summary: {metric!r} is not one of {', '.join(CLUSTERED)}"
        if set(of_task) != tasks:
            yield f"summary.{metric}: its tasks are not those of the study"
        for task, found in of_task.items():
            if set(found["towers"]) != towers:
                yield f"summary.{metric}.{task}: its towers are not those of the study"
            compared = {tower for tower, row in found["towers"].items() if row["mean"] is not None}
            for tower, row in found["towers"].items():
                rivals = compared - {tower} if tower in compared else set()
                if fault := _row_fault(row, rivals, [one["origin"] for one in origins]):
                    yield f"summary.{metric}.{task}.{tower}: {fault}"


def _row_fault(row: dict[str, Any], rivals: set[str], origins: list[str]) -> str:
    if set(row["rivals"]) != rivals:
        return "its rivals are not the other towers with a mean"
    if row["best_rival"] not in rivals and (rivals or row["best_rival"] is not None):
        return f"best_rival: {row['best_rival']!r} is not one of its rivals"
    for found in row["rivals"].values():
        if not set(found["by_origin"]) <= set(origins):
            return "by_origin: not the origins of the study"
        known = {found[name] is not None for name in ("error", "low", "high", "p", "p_corrected")}
        if known != {found["conclusion"] != "too few users"}:
            return "error, low, high, p and p_corrected are null with too few users, and only then"
    best = row["rivals"][row["best_rival"]]["error"] if row["best_rival"] else None
    if (row["power"] is None) != (best is None):
        return "power is null if the error is, and only then"
    return ""


RollingFile = Annotated[_Rolling, AfterValidator(_checked)]
"""study.json of a rolling study."""


def load_rolling(out: Path) -> Json:
    """Load a rolling study. Raises UserError if `out` has none."""
    found: Json = read_typed(out / NAME, RollingFile, remedy="name another folder with --out")
    return found


def is_rolling(out: Path) -> bool:
    """Whether the study in `out` is a rolling one; the file may still be damaged."""
    path = out / NAME
    return has_file(path) and '"protocol": "rolling"' in read_text(path, remedy="remove it")[:200]


ROLLING = FolderKind(
    name="study",
    mark=NAME,
    is_leftover=lambda path: path.name in (f".{NAME}.partial", "lock", "data"),
    check=load_rolling,
    has_saved=lambda out: any(out.glob(f"*/*/*/{SAVED}")) or any(out.glob(f"*/*/*/*/{SAVED}")),
)
