"""Notes on what a rolling study does not cover."""

from __future__ import annotations

from pipeline.io.json_types import Json
from pipeline.metrics.clustered import MIN_USERS


def notes(study: Json) -> list[str]:
    """Return notes on missing runs, undefined metrics and what errors do not cover."""
    found = []
    runs = study["runs"]
    for status, what in (
        ("failed", "failed"),
        ("stopped", "were stopped"),
        ("pending", "have not been started"),
    ):
        if names := [name_of(run) for run in runs if run["status"] == status]:
            shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            found.append(
                f"{len(names)} of {len(runs)} runs {what}: {shown}. Only origins and seeds that "
                "every compared tower has finished are compared."
            )
    if failed := study["failed_trials"]:
        trials = [
            f"{one['tower']} {one['origin']} trial {one['trial']} ({one['error']})"
            for one in failed
        ]
        shown = ", ".join(trials[:6]) + (", ..." if len(trials) > 6 else "")
        found.append(
            f"{len(failed)} trials failed, so their towers were chosen from fewer: {shown}. "
            "--resume runs them again as long as no run of the tower has started; remove its "
            "seed-* folders for that."
        )
    done = {run["tower"] for run in runs if run["status"] == "done"}
    if none := [tower for tower in study["towers"] if tower not in done]:
        found.append(f"No run of {', '.join(none)} has finished: not compared.")
    for metric, of_task in study["summary"].items():
        found += _left_out(metric, of_task)
        few = [
            task
            for task, one in of_task.items()
            if any(
                rival["error"] is None
                for row in one["towers"].values()
                for rival in row["rivals"].values()
            )
        ]
        if few:
            found.append(
                f"{metric.upper()} has no error and no conclusion for {', '.join(few)}: at an "
                f"origin fewer than {MIN_USERS} users have "
                + ("both classes." if metric == "gauc" else "a positive, or a negative.")
            )
    if len(study["seeds"]) == 1:
        found.append("There is one seed: errors cover users, and not what a seed changes.")
    if study["data"].get("early"):
        found.append(
            "Rows of earlier days with two labels are in training, statistics and histories; these "
            "metrics do not compare with those without them."
        )
    return found


def _left_out(metric: str, of_task: Json) -> list[str]:
    """Return a sentence for each set of origins and of towers that tasks leave out."""
    why = "have no user with both classes" if metric == "gauc" else "have one class"
    of: dict[str, list[str]] = {}
    for task, one in of_task.items():
        origins, towers = (", ".join(one["left_out"][name]) for name in ("origins", "towers"))
        if origins:
            of.setdefault(f"the test days {origins}, whose rows {why}", []).append(task)
        if towers:
            of.setdefault(f"{towers}: scores that are not numbers, a diverged model", []).append(
                task
            )
    return [
        f"{metric.upper()} of {', '.join(tasks)} leaves out {what}." for what, tasks in of.items()
    ]


def name_of(run: Json) -> str:
    return f"{run['tower']} {run['origin']} seed {run['seed']}"
