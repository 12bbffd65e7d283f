"""The design of a rolling study: origins, towers and their configurations, checked before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.auto import derive
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.file_types import HOME
from pipeline.experiments.rolling.data import DailyData, Progress, daily_data, prepare_origin
from pipeline.experiments.rolling.file_types import VERSION
from pipeline.experiments.rolling.origins import Origin, find_origins
from pipeline.experiments.rolling.tuning import check_searches, default_searches
from pipeline.experiments.search import Settings
from pipeline.experiments.search_space import read_searches
from pipeline.experiments.study import folder_name
from pipeline.experiments.study_design import (
    Match,
    check_names,
    check_splits,
    run_config,
    tower_configs,
    tower_entry,
)
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from pipeline.ranks.world import World
from pipeline.training.resolve_features import Selection, resolve_features

TuneAt = Literal["first", "every"]
DATA = "data"
"""Folder of the prepared origins, in the study's."""
_OURS = {
    "--train.seed": "--seeds",
    "--model.tower.kind": "--towers",
    "--checkpoint.path": "--out",
    "--data.path": "--raw or --config",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingOptions:
    """Options of a rolling study; saved as `options` in study.json."""

    recipe: str | None
    config: str | None
    overrides: tuple[str, ...]
    raw: str | None
    early: str | None
    towers: tuple[str, ...]
    seeds: tuple[int, ...]
    min_train_days: int
    origins: int | None
    trials: int
    tune_at: TuneAt
    search: tuple[str, ...]
    match: Match | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known before anything is prepared."""

    options: RollingOptions
    base: Config
    data: DailyData
    origins: tuple[Origin, ...]

    @property
    def tuned_at(self) -> tuple[str, ...]:
        """Names of the origins at which towers are tuned."""
        names = tuple(origin.name for origin in self.origins)
        return names if self.options.tune_at == "every" else names[:1]

    @property
    def num_runs(self) -> int:
        return len(self.options.towers) * len(self.options.seeds) * len(self.origins)

    @property
    def num_trials(self) -> int:
        return len(self.options.towers) * self.options.trials * len(self.tuned_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingDesign:
    """The prepared origins, and each tower's configuration at each."""

    plan: Plan
    out: Path
    bases: Mapping[tuple[str, str], Config]
    """By tower and origin, with the recipe's values."""
    steps: Mapping[str, int]
    """Of a run, by origin."""
    features: Mapping[str, Selection]
    """By origin."""
    search: Settings
    head: Json
    """Content of study.json before the first run."""

    def folder(self, tower: str, origin: str) -> Path:
        return self.out / folder_name(tower) / origin


def plan_rolling(options: RollingOptions) -> Plan:
    """Find the origins. Raises UserError for invalid options or data."""
    for word in options.overrides:
        if (field := word.partition("=")[0]) in _OURS:
            raise UserError(
                f"command line: {field} is set by the study; use {_OURS[field]} instead"
            )
    config = None if options.config is None else Path(options.config)
    base = resolve(options.recipe, config, ["--checkpoint.keep", "1", *options.overrides])
    check_names(options.towers)
    check_searches(options.search, base, matched=options.match is not None)
    if len(options.towers) < 2:
        raise UserError("command line: --towers: one tower has no rival; name at least two")
    raw, early = (None if one is None else Path(one) for one in (options.raw, options.early))
    data = daily_data(base, raw, early)
    origins = find_origins(data.days(), options.min_train_days, options.origins)
    return Plan(options=options, base=base, data=data, origins=tuple(origins))


def design_rolling(plan: Plan, out: Path, world: World, progress: Progress) -> RollingDesign:
    """Prepare every origin in `out`/data, once, and check every tower there.

    Raises UserError for invalid data or configurations.
    """
    options = plan.options
    bases: dict[tuple[str, str], Config] = {}
    steps: dict[str, int] = {}
    features: dict[str, Selection] = {}
    entries: list[Json] = []
    for origin in plan.origins:
        schema = prepare_origin(plan.data, origin, out / DATA, progress)
        _check_rows(schema, origin)
        path = out / DATA / origin.name
        own = plan.base.data.model_copy(update={"path": path})
        base, _ = derive(plan.base.model_copy(update={"data": own}), schema)
        chosen = features[origin.name] = resolve_features(base, schema)
        total = check_splits(base, chosen, "test", world)
        steps[origin.name] = min(base.train.max_steps or total, total)
        configs, costs = tower_configs(base.model.tower, options.towers, chosen, options.match)
        for tower in options.towers:
            bases[tower, origin.name] = run_config(base, configs[tower], options.seeds[0])
        entries.append(_origin_entry(origin, schema))
    check_tasks({origin: chosen.tasks for origin, chosen in features.items()})
    space = list(options.search) or default_searches(base, matched=options.match is not None)
    for one in bases.values():
        read_searches(space, one, [])
    head: Json = {
        "version": VERSION,
        "protocol": "rolling",
        "options": _option_values(options),
        "recipe": base.recipe,
        "dataset": schema.dataset,
        "data": plan.data.description,
        "select": base.train.select,
        "match": options.match,
        "subject": HOME if HOME in options.towers else options.towers[0],
        "seeds": list(options.seeds),
        "tasks": chosen.tasks,
        "origins": entries,
        "search": space,
        "towers": {
            tower: tower_entry(tower, costs[tower], configs[tower]) for tower in options.towers
        },
    }
    search = Settings(search=space, trials=options.trials, pruner="none", startup=1)
    return RollingDesign(
        plan=plan, out=out, bases=bases, steps=steps, features=features, search=search, head=head
    )


def check_tasks(tasks: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError if origins, by name, have other tasks than the first."""
    (first, expected), *others = tasks.items()
    for origin, found in others:
        if list(found) != list(expected):
            raise UserError(
                f"origin {origin}: its tasks are {', '.join(found)}, and those of {first} "
                f"{', '.join(expected)}; name those that both have with --data.tasks"
            )


def _option_values(options: RollingOptions) -> Json:
    found = {name: getattr(options, name) for name in RollingOptions.__slots__}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in found.items()}


def _origin_entry(origin: Origin, schema: Schema) -> Json:
    return {
        "origin": origin.name,
        "train_to": f"{origin.train_to:%Y-%m-%d}",
        "val": f"{origin.val:%Y-%m-%d}",
        "test": f"{origin.test:%Y-%m-%d}",
        "rows": {split: found.rows for split, found in schema.splits.items()},
    }


def _check_rows(schema: Schema, origin: Origin) -> None:
    for split in ("val", "test"):
        if not schema.splits[split].rows:
            raise UserError(f"origin {origin.name}: no rows in {split}; choose other --origins")
