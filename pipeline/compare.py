"""A study: which runs it has, and one of them from its start to its figures.

One run is one tower and one seed, an ordinary run of `train` on one rank in a folder of its own.
All runs of a seed differ in the tower alone, so they see the same rows in the same order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.cost import Cost, cost, matched
from models.towers import TowerConfig
from models.variants import VARIANTS, variant
from pipeline.assemble import Selection, select
from pipeline.checkpoint import find_checkpoint, saved_steps
from pipeline.config import Config
from pipeline.data.schema import SPLIT, Schema
from pipeline.distributed import World
from pipeline.errors import UserError, nearest
from pipeline.evaluate import evaluate_checkpoint
from pipeline.files import write_json
from pipeline.overrides import resolve
from pipeline.report_files import Json
from pipeline.streams import open_split
from pipeline.study import OUTCOME, VERSION, folder_name
from pipeline.train import train

Match = Literal["params", "flops"]

# What these would set is the study's to choose, run by run.
_OURS = {"--train.seed": "--seeds", "--model.tower.kind": "--towers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One tower, one seed."""

    tower: str
    seed: int
    folder: Path
    config: Config

    @property
    def name(self) -> str:
        return f"{self.tower} seed {self.seed}"

    @property
    def log(self) -> Path:
        """Beside the folder: that one belongs to the run alone."""
        return self.folder.with_name(f"{self.folder.name}.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a study will do, known and checked before it does anything."""

    runs: tuple[Run, ...]
    """Seed by seed: a study that is cut short has every tower over some seeds."""
    costs: dict[str, Cost]
    steps: int
    """Of one run."""
    head: Json
    """What study.json says before the first run."""


def plan_study(
    *,
    recipe: str,
    overrides: Sequence[str],
    towers: Sequence[str],
    skip_unknown: bool = False,
    seeds: Sequence[int],
    out: Path,
    against: str | None,
    match: Match | None,
    world: World,
) -> Plan:
    """Look everything up. UserError for what would not run."""
    for word in overrides:
        if (field := word.partition("=")[0]) in _OURS:
            raise UserError(f"command line: {field} is set run by run; say {_OURS[field]} instead")
    # After the best one nothing else of a finished run is needed; a user's own value wins.
    base = resolve(recipe, None, ["--checkpoint.keep", "1", *overrides])
    towers, left_out = _known(towers, skip_unknown)
    if against is not None and against not in towers:
        raise UserError(
            f"command line: --against {against!r} is no tower of this study; "
            f"{nearest(against, list(towers))}"
        )
    reference = against or ("single_task" if "single_task" in towers else towers[0])
    schema = Schema.load(base.data.path)
    chosen = select(base, schema)
    open_split(base, chosen, "val", world, purpose="eval")
    if _rows(schema):
        open_split(base, chosen, "test", world, purpose="eval")
    source = open_split(base, chosen, "train", world, purpose="train")
    steps = base.train.epochs * source.steps_per_epoch
    configs, costs = _towers(base.model.tower, towers, chosen, match)
    runs = tuple(
        Run(
            tower=name,
            seed=seed,
            folder=out / folder_name(name) / f"seed-{seed}",
            config=_config(base, configs[name], seed),
        )
        for seed in seeds
        for name in towers
    )
    _assert_same_batches(runs)
    head: Json = {
        "version": VERSION,
        "recipe": base.recipe,
        "dataset": schema.dataset,
        "data": str(base.data.path),
        "overrides": list(overrides),
        "select": base.train.select,
        "match": match,
        "against": reference,
        "seeds": list(seeds),
        "split": "test" if _rows(schema) else "val",
        "tasks": chosen.tasks,
        "left_out": left_out,
        "towers": {
            name: {
                "folder": folder_name(name),
                "parameters": costs[name].parameters,
                "flops": costs[name].flops,
                "config": configs[name].model_dump(mode="json"),
            }
            for name in towers
        },
    }
    return Plan(runs=runs, costs=costs, steps=min(base.train.max_steps or steps, steps), head=head)


def check_same(run: Run) -> None:
    """UserError if the run's folder holds a run with other settings or of other data."""
    path = run.folder / "config.json"
    if not path.is_file():
        return
    ours, theirs = (config.model_dump(mode="json") for config in (run.config, Config.load(path)))
    if field := _first_difference(ours, theirs):
        raise UserError(
            f"{path}: {field} is not what this command asks for; say the same settings as before, "
            "--overwrite to replace the study, or another --out"
        )
    if Schema.load(run.folder) != Schema.load(run.config.data.path):
        raise UserError(
            f"{run.folder}: was trained on other data than {run.config.data.path} now holds; "
            "--overwrite replaces the study, --out names another folder"
        )


def run_to_the_end(run: Run, world: World) -> int:
    """Train, or go on; evaluate the best checkpoint once on the test split; keep what came out.

    Returns the exit code: 0, or STOPPED after a signal. UserError for what the user can mend.
    """
    if run.folder.is_dir() and not (run.folder / "config.json").exists():
        shutil.rmtree(run.folder)  # killed before it had begun
    code = train(run.config, run.folder, world, resume=True, overwrite=False)
    if code:
        return code
    results = json.loads((run.folder / "results.json").read_text())
    best = find_checkpoint(run.folder)
    test = None
    if _rows(Schema.load(run.folder)):
        test, _ = evaluate_checkpoint(best, "test", None, world)
    for step in saved_steps(best.parent):
        if best.parent / f"step-{step:08d}" != best:
            shutil.rmtree(best.parent / f"step-{step:08d}")
    outcome = {"version": VERSION, "step": results["step"], "val": results["tasks"], "test": test}
    write_json(run.folder / OUTCOME, outcome)
    return 0


def _rows(schema: Schema, split: SPLIT = "test") -> int:
    return schema.splits[split].rows


def _known(towers: Sequence[str], skip_unknown: bool) -> tuple[list[str], list[str]]:
    """The towers that there are, and a sentence about those that there are not."""
    unknown = [name for name in towers if name not in VARIANTS]
    known = [name for name in towers if name in VARIANTS]
    for name in known:
        if known.count(name) > 1:
            raise UserError(f"command line: --towers: {name!r} is there twice; name it once")
    if not unknown:
        return known, []
    names = ", ".join(f"{name!r} ({nearest(name, list(VARIANTS))})" for name in unknown)
    text = f"{len(unknown)} of {len(towers)} towers unknown: {names}"
    if not known or not skip_unknown:
        raise UserError(f"command line: --towers: {text}; --skip-unknown compares the others")
    return known, [f"{text}; left out."]


def _towers(
    base: TowerConfig, names: Sequence[str], chosen: Selection, match: Match | None
) -> tuple[dict[str, TowerConfig], dict[str, Cost]]:
    """Each tower's configuration and cost; with `match` at the cost of the recipe's HoME."""
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


def _config(base: Config, tower: TowerConfig, seed: int) -> Config:
    model = base.model.model_copy(update={"tower": tower})
    training = base.train.model_copy(update={"seed": seed})
    return base.model_copy(update={"model": model, "train": training})


def _assert_same_batches(runs: Sequence[Run]) -> None:
    """The order of rows follows from seed, data and batch size: towers must not differ in these."""
    for run in runs:
        first = next(other for other in runs if other.seed == run.seed)
        same = run.config.model_copy(update={"model": first.config.model})
        assert same == first.config, "runs of a seed differ in the tower alone"


def _first_difference(ours: Json, theirs: Json, prefix: str = "") -> str:
    """The dotted name of a field whose values differ, or ''."""
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            return _first_difference(a, b, f"{prefix}{key}.")
        return prefix + key
    return ""
