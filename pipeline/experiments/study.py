"""study.json: what a study's runs came to, seed by seed and taken together. No torch.

version, recipe, dataset, data, overrides, select, match, against, seeds, split, tasks
towers: {TOWER: {folder, parameters, flops (a sample, forward and backward), config}}
runs: [{tower, seed, folder, status, error, step, seconds, samples_per_s, val, test, findings}]
summary: {METRIC: {TASK: {TOWER: {n, mean, deviation, against, home}}}}, the last two
    {n, mean, error, conclusion} or null for the tower itself
rows: {TASK: {rows, positives, gauc_users, gauc_left_out}} of the split
notes: [what is undefined or missing, and how much of it]
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
from pipeline.io.files import write_json
from pipeline.io.json_types import Json
from pipeline.io.set_aside import SAVED
from pipeline.io.typed_json import read_typed
from pipeline.metrics.spec import METRICS, MetricSpec
from pipeline.report.run_files import read_run

NAME = "study.json"
OUTCOME = "outcome.json"
"""In a run's folder: written last, so that a run is over once it is there."""

_COUNTS = ("rows", "positives", "gauc_users", "gauc_left_out")


def metrics_of(study: Json) -> list[MetricSpec]:
    """The metrics that a study.json holds and this table knows."""
    return [metric for metric in METRICS if metric.name in study["summary"]]


def folder_name(tower: str) -> str:
    """A tower's name as a folder's: 'mmoe*' -> 'mmoe-star'."""
    name = tower.replace("*", "-star")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name), f"{tower} needs another name for its folder"
    return name


def run_entry(tower: str, seed: int, folder: Path, status: str, error: str | None = None) -> Json:
    """An entry of `runs`; with its metrics where `folder` holds a finished run."""
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
    """`head` (what was planned) and `runs` (what came of it) with what they say together."""
    done = [run for run in runs if run["status"] == "done"]
    split = head["split"]
    summary = {
        metric.name: {task: _summary(head, done, task, metric) for task in head["tasks"]}
        for metric in METRICS
    }
    rows = {}
    if done:
        results = done[0][split]
        rows = {task: {name: results[task][name] for name in _COUNTS} for task in head["tasks"]}
    study = {**head, "runs": list(runs), "summary": summary, "rows": rows}
    return {**study, "notes": _notes(study)}


def _summary(head: Json, done: Sequence[Json], task: str, metric: MetricSpec) -> Json:
    """Of every tower."""
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
    """What a reader must know before believing a metric."""
    notes = []
    split, runs = study["split"], study["runs"]
    for status, what in (
        ("failed", "failed and are left out"),
        ("stopped", "were stopped before their end and are left out"),
        ("pending", "have not been started"),
    ):
        if names := [
            f"{run['tower']} seed {run['seed']}" for run in runs if run["status"] == status
        ]:
            notes.append(f"{len(names)} of {len(runs)} runs {what}: {', '.join(names)}.")
    if split == "val":
        notes.append(
            "No row of the data falls into the test split: these are metrics of the validation "
            "split, which also chose the checkpoints, so they lean to the good side."
        )
    one_class = []
    for task, counts in study["rows"].items():
        positives, rows = counts["positives"], counts["rows"]
        users = counts["gauc_left_out"] + counts["gauc_users"]
        if positives in (0, rows):
            which = "positive" if positives == 0 else "negative"
            notes.append(
                f"{task}: no {which} among {rows:,} rows of the {split} split, so it has no AUC, "
                "GAUC or NE."
            )
        elif counts["gauc_left_out"]:
            one_class.append(f"{task} {counts['gauc_left_out']:,} of {users:,}")
    if one_class:
        notes.append(
            f"GAUC leaves out users whose rows of the {split} split are of one class: "
            f"{', '.join(one_class)}."
        )
    done = [run for run in runs if run["status"] == "done"]
    seeds = {tower: [r["seed"] for r in done if r["tower"] == tower] for tower in study["towers"]}
    if len({frozenset(each) for each in seeds.values()}) > 1:
        counts = ", ".join(f"{tower} {len(each)}" for tower, each in seeds.items())
        notes.append(
            f"Not all towers have a finished run of every seed ({counts}): a difference is taken "
            "over the seeds that both towers have, a mean over all that its own tower has."
        )
    if len(study["towers"]) == 1:
        notes.append("One tower: no difference, and so nothing is better or worse here.")
    if len(study["seeds"]) == 1:
        notes.append("One seed: no deviation, no standard error, and so inconclusive.")
    return notes


def is_alone(study: Json) -> bool:
    """Whether there is one tower, and so nothing to compare it with."""
    return len(study["towers"]) == 1


def has_errors(study: Json) -> bool:
    """Whether any tower was compared over two seeds or more, so that there are standard errors."""
    return any(
        len(shared_seeds(study, tower, study["against"])) > 1
        for tower in study["towers"]
        if tower != study["against"]
    )


def most_seeds(study: Json) -> int:
    """Finished seeds of the tower that has most of them."""
    return max(len(shared_seeds(study, tower, tower)) for tower in study["towers"])


def shared_seeds(study: Json, *towers: str) -> set[int]:
    """Seeds with a finished run of every one of these towers."""
    done = {(run["tower"], run["seed"]) for run in study["runs"] if run["status"] == "done"}
    return {seed for _, seed in done if all((tower, seed) in done for tower in towers)}


def save_study(out: Path, study: Json) -> None:
    write_json(out / NAME, study)


def load_study(out: Path) -> Json:
    """UserError if `out` holds no study, or one of another version."""
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
