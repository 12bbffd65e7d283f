"""Tunes a tower at an origin: a search with a fixed number of trials, the same for every tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from pipeline.config.tree import Config
from pipeline.experiments.file_types import SettingsFile
from pipeline.experiments.sampler import Trial
from pipeline.experiments.search import Search, Settings
from pipeline.experiments.search_report import FOUND, read_found
from pipeline.experiments.search_space import (
    Dimension,
    OneOf,
    ParamValue,
    laid_over,
    read_search,
    read_searches,
)
from pipeline.io.errors import UserError
from pipeline.io.files import has_file
from pipeline.io.typed_json import check_typed

_SAME_COST = ("model.tower.activation", "model.tower.dropout")
"""Fields of a tower that do not change its cost."""
_AGAIN = "start another study with --out, or this one again with --overwrite"


def default_searches(base: Config, *, matched: bool) -> list[str]:
    """Return the search space around a recipe: both learning rates, dropout, weight decay and,
    unless widths are `matched`, the experts' width."""
    space = [
        f"{name}={lr / 3:.3g}:{lr * 3:.3g}:log"
        for name, lr in (("dense.lr", base.dense.lr), ("sparse.lr", base.sparse.lr))
    ]
    space += [
        f"model.tower.dropout={_choices(base.model.tower.dropout, (0.0, 0.1, 0.2))}",
        f"dense.weight_decay={_choices(base.dense.weight_decay, (0.0, 0.01, 0.1))}",
    ]
    width = base.model.tower.expert_dim
    return (
        space if matched or width < 2 else [*space, f"model.tower.expert_dim={width // 2},{width}"]
    )


def check_searches(searches: Sequence[str], base: Config, *, matched: bool) -> None:
    """Raise UserError for a search of what the study sets: with `matched` also a tower's size."""
    for one in searches:
        field = read_search(one, base).field
        if field in ("train.seed", "model.tower.kind"):
            raise UserError(f"--search {one}: {field} is set by the study; search other fields")
        if matched and field.startswith("model.tower.") and field not in _SAME_COST:
            raise UserError(
                f"--search {one}: trials would change the cost of towers that --match makes equal; "
                "search other fields, or omit --match"
            )


def _choices(own: float, others: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in dict.fromkeys((own, *others)))


def open_search(
    folder: Path, base: Config, settings: Settings, *, retry_failed: bool = False
) -> Search:
    """Start or resume the search in `folder`. The first trial has the values of `base`, if the
    search space contains them. `retry_failed`: trials that failed run again.

    Raises UserError if the search in `folder` had other settings.
    """
    dimensions = read_searches(settings.search, base, [])
    trials: list[Trial] = []
    if has_file(folder / FOUND):
        found = read_found(folder)
        try:
            before = check_typed(found["settings"], SettingsFile)
        except ValueError as error:
            raise UserError(f"{folder / FOUND}: settings: {error}; {_AGAIN}") from error
        same = [before[name] == getattr(settings, name) for name in ("seed", "trials")]
        same += [list(before["search"]) == list(settings.search)]
        config = base.model_dump(mode="json")
        found["config"]["data"]["path"] = config["data"]["path"]  # the study may have been moved
        if not all(same) or found["config"] != config:
            raise UserError(f"{folder / FOUND}: a search with other settings; {_AGAIN}")
        trials = [Trial(**trial) for trial in found["trials"]]
        if retry_failed:
            _retry_failed(folder, trials)
    elif (params := own_values(base, dimensions)) is not None:
        trials = [Trial(trial=0, run="trial-0000", params=params)]
    folder.mkdir(parents=True, exist_ok=True)
    return Search(folder, base, dimensions, settings, trials)


def _retry_failed(folder: Path, trials: Sequence[Trial]) -> None:
    """Mark failed trials as running: they continue from their checkpoints, or start again."""
    for trial in trials:
        if trial.state == "failed":
            trial.state, trial.error = "running", None
            if not has_file(folder / trial.run / "config.json"):
                trial.value, trial.evaluations = None, []


def tuned(base: Config, params: Mapping[str, ParamValue], where: str) -> Config:
    """Return `base` with the values of the best trial."""
    return laid_over(base, params, where=where)


def own_values(base: Config, dimensions: Sequence[Dimension]) -> dict[str, ParamValue] | None:
    """Return the values of `base`; None if one of them is not in the search space."""
    found: dict[str, ParamValue] = {}
    for one in dimensions:
        value: Any = reduce(getattr, one.field.split("."), base)
        if isinstance(one, OneOf):
            same = [text for text in one.values if _equal(text, value)]
            if not same:
                return None
            found[one.field] = same[0]
        elif isinstance(value, int | float) and one.low <= value <= one.high:
            found[one.field] = type(one.low)(value)
        else:
            return None
    return found


def _equal(text: str, value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text == str(value)
