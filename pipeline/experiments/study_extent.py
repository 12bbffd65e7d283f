"""How much a study holds: what can be compared, and over how many seeds."""

from __future__ import annotations

from pipeline.report.run_files import Json


def is_alone(study: Json) -> bool:
    """One tower: nothing to compare it with."""
    return len(study["towers"]) == 1


def has_errors(study: Json) -> bool:
    """Whether any tower was compared over two seeds or more, so that verdicts are possible."""
    return any(
        len(shared_seeds(study, tower, study["against"])) > 1
        for tower in study["towers"]
        if tower != study["against"]
    )


def most_seeds(study: Json) -> int:
    """Finished seeds of the tower that has most; with one, no mean has a deviation."""
    return max(len(shared_seeds(study, tower, tower)) for tower in study["towers"])


def shared_seeds(study: Json, *towers: str) -> set[int]:
    """Seeds of which all these towers have a finished run."""
    done = {(run["tower"], run["seed"]) for run in study["runs"] if run["status"] == "done"}
    return {seed for _, seed in done if all((tower, seed) in done for tower in towers)}
