"""study.json: results of a study, by seed and summarized. Does not import torch.

version, recipe, dataset, data, overrides, select, match, against, seeds, split, tasks
towers: {TOWER: {folder, parameters, flops (per sample, forward and backward), config}}
runs: [{tower, seed, folder, status, error, step, seconds, samples_per_s, val, test, findings}]
summary: {METRIC: {TASK: {TOWER: {n, mean, deviation, against, home}}}}, the last two
    {n, mean, error, conclusion} or null for the tower itself
rows: {TASK: {rows, positives, gauc_users, gauc_left_out}} of the split
notes: [undefined or missing results]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from pipeline.config.tree import Config
from pipeline.experiments.file_types import HOME, OutcomeFile, StudyFile
from pipeline.experiments.paired import BySeed, difference, estimate
from pipeline.io.claim_folder import FolderKind
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.io.json_types import Json
from pipeline.io.set_aside import SAVED
from pipeline.io.typed_json import read_typed
from pipeline.metrics.spec import METRICS, MetricSpec, headline
from pipeline.metrics.without_user import NAME as WITHOUT_USER
from pipeline.metrics.without_user import rows_without_user
from pipeline.report.run_files import read_run

NAME = "study.json"
OUTCOME = "outcome.json"
"""In the run folder; written last, so it marks a completed run."""

_COUNTS = ("rows", "positives")
_USER_COUNTS = ("gauc_users", "gauc_left_out")  # not of data without a user column


def metrics_of(study: Json) -> list[MetricSpec]:
    """Return the metrics of a study.json that are in METRICS."""
    return [metric for metric in METRICS if metric.name in study["summary"]]


def headline_of(study: Json) -> list[MetricSpec]:
    """Return the metrics in the answers and charts of a study."""
    return [metric for metric in headline() if metric.name in study["summary"]]


def folder_name(tower: str) -> str:
    """Return a tower's name as a folder name: 'mmoe*' -> 'mmoe-star'."""
    name = tower.replace("*", "-star")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name), f"{tower} needs another name for its folder"
    return name


def run_entry(tower: str, seed: int, folder: Path, status: str, error: str | None = None) -> Json:
    """Return an entry of `runs`, with metrics if `folder` contains a finished run."""
    entry: Json = {
        "tower": tower,
        "seed": seed,
        "folder": f"{folder.parent.name}/{folder.name}",
        "status": status,
        "error": error,
    }
    if status != "done":
        return entry
    remedy = "remove the damaged file, and --resume trains or evaluates again"
    outcome = read_typed(folder / OUTCOME, OutcomeFile, remedy=remedy)
    files = read_run(folder)
    batch_size = Config.load(folder / "config.json").train.batch_size
    speeds = [speed for speed in files.points("samples_per_s")[1] if speed]
    seconds = files.log.steps_over_speed * batch_size
    findings = (files.health or {}).get("diagnosis")
    return entry | {
        "step": outcome["step"],
        "seconds": round(seconds, 1),
        "samples_per_s": round(median(speeds)) if speeds else None,
        "val": outcome["val"],
        "test": outcome["test"],
        "findings": findings,
    }


def build_study(head: Json, runs: Sequence[Json]) -> Json:
    """Combine `head` (the design) and `runs` (the results), and add the summary.

    Raises UserError for a finished run without the results of a task.
    """
    done = [run for run in runs if run["status"] == "done"]
    split = head["split"]
    for run in done:
        for task in head["tasks"]:
            if not (run[split] or {}).get(task, {}).keys() >= set(_COUNTS):
                raise UserError(
                    f"{run['folder']}/{OUTCOME}: lacks results of {task!r} in the {split} split; "
                    "remove the file, and --resume evaluates again"
                )
    summary = {
        metric.name: {task: _summary(head, done, task, metric) for task in head["tasks"]}
        for metric in METRICS
        if not metric.of_users or not done or any(_has(run[split], metric) for run in done)
    }
    rows = {}
    if done:
        results = done[0][split]
        counted = (*_COUNTS, *_USER_COUNTS, WITHOUT_USER)
        rows = {
            task: {name: results[task][name] for name in counted if name in results[task]}
            for task in head["tasks"]
        }
    study = {**head, "runs": list(runs), "summary": summary, "rows": rows}
    return {**study, "notes": _notes(study)}


def _has(results: Json, metric: MetricSpec) -> bool:
    return any(metric.name in row for row in results.values())


def _summary(head: Json, done: Sequence[Json], task: str, metric: MetricSpec) -> Json:
    """Summarize every tower."""
    values: dict[str, BySeed] = {
        tower: {
            run["seed"]: run[head["split"]][task].get(metric.name)
            for run in done
            if run["tower"] == tower
        }
        for tower in head["towers"]
    }
    found: Json = {}
    for tower, ours in values.items():
        row: Json = asdict(estimate(ours))
        for name, other in (("against", head["against"]), ("home", HOME)):
            known = other in values and other != tower
            row[name] = asdict(difference(ours, values[other], metric)) if known else None
        found[tower] = row
    return found


def _notes(study: Json) -> list[str]:
    """Return notes on the reliability of the metrics."""
    notes = []
    split, runs = study["split"], study["runs"]
    for status, what in (
        ("failed", "failed and are excluded"),
        ("stopped", "were stopped early and are excluded"),
        ("pending", "have not been started"),
    ):
        if names := [
            f"{run['tower']} seed {run['seed']}" for run in runs if run["status"] == status
        ]:
            notes.append(f"{len(names)} of {len(runs)} runs {what}: {', '.join(names)}.")
    if split == "val":
        notes.append(
            "The test split is empty. These are metrics of the validation split, which was also "
            "used to choose the checkpoints, so they are optimistic."
        )
    one_class = []
    for task, counts in study["rows"].items():
        positives, rows = counts["positives"], counts["rows"]
        left_out = counts.get("gauc_left_out", 0)
        users = left_out + counts.get("gauc_users", 0)
        if positives in (0, rows):
            which = "positive" if positives == 0 else "negative"
            notes.append(
                f"{task}: no {which} among {rows:,} rows of the {split} split, so it has no "
                f"{'AUC, GAUC' if 'gauc_users' in counts else 'AUC'} or NE."
            )
        elif left_out:
            one_class.append(f"{task} {left_out:,} of {users:,}")
    if one_class:
        notes.append(
            f"GAUC leaves out users whose rows of the {split} split are of one class: "
            f"{', '.join(one_class)}."
        )
    if text := rows_without_user(study["rows"]):
        notes.append(text)
    done = [run for run in runs if run["status"] == "done"]
    seeds = {tower: [r["seed"] for r in done if r["tower"] == tower] for tower in study["towers"]}
    if len({frozenset(each) for each in seeds.values()}) > 1:
        counts = ", ".join(f"{tower} {len(each)}" for tower, each in seeds.items())
        notes.append(
            f"Not all towers have a finished run of every seed ({counts}). A difference covers the "
            "seeds of both towers, a mean all seeds of its tower."
        )
    if len(study["towers"]) == 1:
        notes.append("There is only one tower, so there are no differences.")
    if len(study["seeds"]) == 1:
        notes.append("There is only one seed, so there are no standard errors: inconclusive.")
    return notes


def is_alone(study: Json) -> bool:
    """Whether there is only one tower, so that nothing can be compared."""
    return len(study["towers"]) == 1


def has_errors(study: Json) -> bool:
    """Whether any tower was compared over at least two seeds, so that there are standard errors."""
    return any(
        len(shared_seeds(study, tower, study["against"])) > 1
        for tower in study["towers"]
        if tower != study["against"]
    )


def most_seeds(study: Json) -> int:
    """Return the largest number of finished seeds of a tower."""
    return max(len(shared_seeds(study, tower, tower)) for tower in study["towers"])


def shared_seeds(study: Json, *towers: str) -> set[int]:
    """Return the seeds with a finished run of each of these towers."""
    done = {(run["tower"], run["seed"]) for run in study["runs"] if run["status"] == "done"}
    return {seed for _, seed in done if all((tower, seed) in done for tower in towers)}


def save_study(out: Path, study: Json) -> None:
    write_json(out / NAME, study)


def load_study(out: Path) -> Json:
    """Load a study. Raises UserError if `out` has no study, or one of another version."""
    remedy = "name another folder with --out"
    found: Json = read_typed(out / NAME, StudyFile, remedy=remedy)
    return found


STUDY = FolderKind(
    name="study",
    mark=NAME,
    is_leftover=lambda path: path.name == f".{NAME}.partial",
    check=load_study,
    has_saved=lambda out: any(out.glob(f"*/*/{SAVED}")),
)
