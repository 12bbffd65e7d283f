"""Starts a search in a new folder, or resumes it. Checks everything before running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.overrides import amend, parse
from pipeline.config.tree import Config, build
from pipeline.data.schema import Schema
from pipeline.experiments.experiment import only_writer
from pipeline.experiments.file_types import SettingsFile
from pipeline.experiments.sampler import Trial, frozen
from pipeline.experiments.search import Search, Settings
from pipeline.experiments.search_report import FOUND, read_found
from pipeline.experiments.search_space import Dimension, laid_over, read_searches
from pipeline.io.claim_folder import FolderKind, claim
from pipeline.io.errors import UserError
from pipeline.io.files import has_file
from pipeline.io.typed_json import check_typed
from pipeline.training.resolve_features import resolve_features

_SEARCH = FolderKind(
    name="search",
    mark=FOUND,
    is_leftover=lambda path: path.name in ("lock", f".{FOUND}.partial"),
    check=None,
)


@contextmanager
def start_search(
    folder: Path, base: Config, overrides: Sequence[str], settings: Settings
) -> Iterator[Search]:
    """Start a new search over `base`, checked before its folder is created; locks the folder.

    Raises UserError for an invalid search. `overrides`: fixed fields.
    """
    dimensions = read_searches(settings.search, base, _leaves(parse(overrides)))
    _check(base, dimensions)
    claim(folder, _SEARCH)
    with only_writer(folder, "search"):
        yield Search(folder, base, dimensions, settings, [])


@contextmanager
def resume_search(
    folder: Path,
    amended: Mapping[str, Any],
    recipe: str | None,
    config: Path | None,
    overrides: Sequence[str],
) -> Iterator[Search]:
    """Resume the search in `folder`, with some settings `amended`. Raises UserError if trials would
    differ in more than the searched fields."""
    if not has_file(folder / FOUND):
        raise UserError(
            f"{folder}: no search to resume (no {FOUND}); give its folder with --out, or omit "
            "--resume to start one"
        )
    with only_writer(folder, "search"):
        found = read_found(folder)
        base = build(found["config"], where=str(folder / FOUND))
        remedy = "omit it to resume, or start another search with --out"
        try:
            before = check_typed(found["settings"], SettingsFile)
        except ValueError as error:
            raise UserError(
                f"{folder / FOUND}: settings: {error}; start another search with --out"
            ) from error
        for name in ("search", "seed"):
            if amended.get(name, before[name]) != before[name]:
                values = before[name] if name == "search" else [before[name]]
                was = " ".join(f"--{name} {value}" for value in values)
                raise UserError(f"{folder}: was started with {was}; {remedy}")
        if amend(base, recipe, config, overrides) != base:
            what = " ".join(overrides) or str(config)
            raise UserError(f"{folder}: trials had other values than {what}; {remedy}")
        settings = Settings(**{**before, **amended})
        trials = [Trial(**trial) for trial in found["trials"]]
        dimensions = read_searches(settings.search, base, [])
        _check_trials(trials, dimensions, folder / FOUND)
        yield Search(folder, base, dimensions, settings, trials)


def _check(base: Config, dimensions: Sequence[Dimension]) -> None:
    """Check that trials find their tasks and features in the data, and use separate folders."""
    if base.checkpoint.path:
        raise UserError(
            f"checkpoint.path: {base.checkpoint.path!r} is one folder, but trials are separate "
            "runs; omit it to keep the checkpoints of each trial in its own folder"
        )
    schema = Schema.load(base.data.path)
    resolve_features(base, schema)
    for one in dimensions:
        for value in one.samples:
            where = f"--search {one.field}"
            resolve_features(laid_over(base, {one.field: value}, where=where), schema)


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of the values in a tree."""
    found = []
    for name, value in tree.items():
        inner = isinstance(value, dict)
        found += _leaves(value, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def _check_trials(trials: Sequence[Trial], dimensions: Sequence[Dimension], path: Path) -> None:
    """Check that the sampler can learn from all trials."""
    for trial in trials:
        try:
            frozen(trial, dimensions)
        except ValueError as error:
            raise UserError(
                f"{path}: trials.{trial.trial}: {error}; start another search with --out"
            ) from error
