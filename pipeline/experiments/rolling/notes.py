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
                "every tower has finished are compared."
            )
    for metric, of_task in study["summary"].items():
        undefined = [
            task
            for task, one in of_task.items()
            if any(row["mean"] is None for row in one["towers"].values())
        ]
        if undefined:
            found.append(
                f"{metric.upper()} is undefined on some test day (one class, no user with both, or "
                f"a diverged model) and left out: {', '.join(undefined)}."
            )
        few = [
            task
            for task, one in of_task.items()
            for row in [next(iter(one["towers"].values()))]
            if any(rival["error"] is None for rival in row["rivals"].values())
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


def name_of(run: Json) -> str:
    return f"{run['tower']} {run['origin']} seed {run['seed']}"
