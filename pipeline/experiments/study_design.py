"""The design of a study: its runs, validated before the first one starts.

All runs of a seed differ only in the tower, so they see the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.towers.config import TowerConfig
from models.towers.cost import Cost, cost, matched
from models.towers.variants import VARIANTS, variant
from pipeline.config.auto import derive
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import SPLIT, Schema
from pipeline.experiments.file_types import VERSION
from pipeline.experiments.study import folder_name
from pipeline.experiments.study_runs import TowerRun
from pipeline.io.errors import UserError, nearest
from pipeline.io.json_types import Json
from pipeline.ranks.world import World
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import Selection, resolve_features

Match = Literal["params", "flops"]

# Fields that the study sets for each run.
_OURS = {
    "--train.seed": "--seeds",
    "--model.tower.kind": "--towers",
    "--checkpoint.path": "--out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDesign:
    """The validated runs of a study."""

    runs: tuple[TowerRun, ...]
    """Ordered by seed, so that an interrupted study has all towers for some seeds."""
    kept: tuple[TowerRun, ...]
    """Runs of an extended study that are not requested now; their results are kept."""
    head: Json
    """Content of study.json before the first run."""


def design_study(
    *,
    recipe: str | None,
    overrides: Sequence[str],
    towers: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    against: str | None,
    match: Match | None,
    world: World,
    config: Path | None = None,
    study: Json | None = None,
) -> StudyDesign:
    """Design a study. Raises UserError for an invalid one.

    With `study`, the existing one in `out`, the design extends it: its towers, seeds and runs are
    kept.
    """
    for word in overrides:
        if (field := word.partition("=")[0]) in _OURS:
            raise UserError(f"command line: {field} is set per run; use {_OURS[field]} instead")
    # A finished run needs only its best checkpoint, unless the user sets a value.
    base = resolve(recipe, config, ["--checkpoint.keep", "1", *overrides])
    check_names(towers)
    before = study or {"towers": {}, "seeds": [], "runs": []}
    all_towers = list(dict.fromkeys([*before["towers"], *towers]))
    reference = _reference(against, all_towers)
    schema = Schema.load(base.data.path)
    base, _ = derive(base, schema)
    chosen = resolve_features(base, schema)
    split: SPLIT = "test" if schema.splits["test"].rows else "val"
    steps = check_splits(base, chosen, split, world)
    configs, costs = tower_configs(base.model.tower, all_towers, chosen, match)

    def run(name: str, seed: int) -> TowerRun:
        folder = out / folder_name(name) / f"seed-{seed}"
        return TowerRun(
            name=f"{name} seed {seed}",
            folder=folder,
            log=folder.with_name(f"{folder.name}.log"),
            config=run_config(base, configs[name], seed),
            steps=min(base.train.max_steps or steps, steps),
            tower=name,
            seed=seed,
        )

    runs = tuple(run(name, seed) for seed in seeds for name in towers)
    there = (run(entry["tower"], entry["seed"]) for entry in before["runs"])
    kept = tuple(one for one in there if one not in runs)
    _assert_same_batches([*runs, *kept])
    head: Json = {
        "version": VERSION,
        "recipe": base.recipe,
        "dataset": schema.dataset,
        "data": str(base.data.path),
        "overrides": list(overrides),
        "select": base.train.select,
        "match": match,
        "against": reference,
        "seeds": list(dict.fromkeys([*before["seeds"], *seeds])),
        "split": split,
        "tasks": chosen.tasks,
        "towers": {name: tower_entry(name, costs[name], configs[name]) for name in all_towers},
    }
    return StudyDesign(runs=runs, kept=kept, head=head)


def _reference(against: str | None, towers: Sequence[str]) -> str:
    """The tower that the others are compared with. UserError if `against` is none of `towers`."""
    if against is None:
        return "single_task" if "single_task" in towers else towers[0]
    if against not in towers:
        raise UserError(
            f"command line: --against {against!r} is not a tower of this study; "
            f"{nearest(against, list(towers))}"
        )
    return against


def check_splits(base: Config, chosen: Selection, split: SPLIT, world: World) -> int:
    """Steps of the training split; UserError if it, val or `split` cannot be read."""
    splits: dict[SPLIT, None] = {"val": None, split: None}
    for name in splits:
        open_split(base, chosen, name, world, purpose="eval")
    source = open_split(base, chosen, "train", world, purpose="train")
    return base.train.epochs * source.steps_per_epoch


def tower_entry(name: str, cost: Cost, config: TowerConfig) -> Json:
    """A tower's part of study.json."""
    return {
        "folder": folder_name(name),
        "parameters": cost.parameters,
        "flops": cost.flops,
        "config": config.model_dump(mode="json"),
    }


def check_names(towers: Sequence[str]) -> None:
    """Raise UserError for an unknown or repeated tower."""
    if unknown := [name for name in towers if name not in VARIANTS]:
        names = ", ".join(f"{name!r} ({nearest(name, list(VARIANTS))})" for name in unknown)
        raise UserError(f"command line: --towers: unknown: {names}")
    for name in towers:
        if towers.count(name) > 1:
            raise UserError(f"command line: --towers: {name!r} is given twice; remove one")


def tower_configs(
    base: TowerConfig, names: Sequence[str], chosen: Selection, match: Match | None
) -> tuple[dict[str, TowerConfig], dict[str, Cost]]:
    """Return each tower's configuration and cost; `match`: at the cost of the recipe's HoME."""
    num_features, tasks = chosen.num_features, chosen.tower_tasks
    target = cost(variant("home", base), num_features, tasks)
    configs, costs = {}, {}
    for name in names:
        try:
            config = variant(name, base)
            if match is not None and name != "home":
                config = matched(config, target, match, num_features, tasks)
            costs[name] = cost(config, num_features, tasks)
        except ValueError as error:
            raise UserError(f"command line: --towers {name}: {error}") from error
        configs[name] = config
    return configs, costs


def run_config(base: Config, tower: TowerConfig, seed: int) -> Config:
    model = base.model.model_copy(update={"tower": tower})
    training = base.train.model_copy(update={"seed": seed})
    return base.model_copy(update={"model": model, "train": training})


def _assert_same_batches(runs: Sequence[TowerRun]) -> None:
    """Check that towers do not differ in fields that determine the order of rows."""
    for run in runs:
        first = next(other for other in runs if other.seed == run.seed)
        same = run.config.model_copy(update={"model": first.config.model})
        assert same == first.config, "runs of a seed differ only in the tower"
