"""The folder of a search, made or opened:

base.yaml   what all trials begin from       journal.log  Optuna's record
search.json what is searched, and how        logs/        what each trial printed
trial-NNNN/ a run                            tune.json, best.yaml, report.html

The search lives in these files alone: however it ended, it resumes from them, each trial from its
last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config.overrides import amend, parse, resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.experiment import only_writer
from pipeline.experiments.search import Search, Settings, config_yaml
from pipeline.experiments.search_space import Dimension, laid_over, read_searches
from pipeline.io.claim_folder import Kind, claim
from pipeline.io.errors import UserError
from pipeline.io.files import read_json, write_json, write_text
from pipeline.training.resolve_features import select

_MARK = "search.json"
_HEAD = "What all trials begin from."


@contextmanager
def open_search(
    folder: Path,
    *,
    recipe: str | None,
    config: Path | None,
    overrides: Sequence[str],
    search: Sequence[str],
    given: Mapping[str, Any],
    resume: bool,
) -> Iterator[Search]:
    """A new search, checked before its folder is made, or with `resume` the one in `folder`.

    Meanwhile no other process may open it. `given`: what is not to be as in `Settings`, or, with
    `resume`, not as before. UserError for what is wrong with any.
    """
    if resume:
        saved = _saved(folder)
        with only_writer(folder, "search"):
            base = resolve(None, folder / "base.yaml", [])
            _check_same(folder, base, saved, recipe, config, overrides, search, given)
            settings = Settings(**{**saved, **given})
            write_json(folder / _MARK, asdict(settings))
            yield Search(folder, base, read_searches(settings.search, base, []), settings)
        return
    base = resolve(recipe, config, overrides)
    dimensions = read_searches(search, base, _leaves(parse(overrides)))
    settings = Settings(search=search, **given)
    _check(base, dimensions)
    claim(folder, _SEARCH)
    with only_writer(folder, "search"):
        write_text(folder / "base.yaml", config_yaml(base, _HEAD))
        write_json(folder / _MARK, asdict(settings))
        yield Search(folder, base, dimensions, settings)


def _saved(folder: Path) -> dict[str, Any]:
    path = folder / _MARK
    if not path.is_file():
        raise UserError(
            f"{folder}: no search to resume (no {_MARK}); name its folder with --out, or leave "
            "--resume out to start one"
        )
    names = tuple(Settings.__dataclass_fields__)
    return read_json(path, needs=names, remedy="start another search with --out")


def _check_same(
    folder: Path,
    base: Config,
    saved: Mapping[str, Any],
    recipe: str | None,
    config: Path | None,
    overrides: Sequence[str],
    search: Sequence[str],
    given: Mapping[str, Any],
) -> None:
    """Trials of one search share all that is not searched."""
    remedy = "leave it out to resume, or start another search with --out"
    if search and list(search) != saved["search"]:
        was = " ".join(f"--search {text}" for text in saved["search"])
        raise UserError(f"{folder}: was started with {was}, not with other ones; {remedy}")
    if given.get("seed", saved["seed"]) != saved["seed"]:
        raise UserError(f"{folder}: was started with --seed {saved['seed']}; {remedy}")
    if amend(base, recipe, config, overrides) != base:
        what = " ".join(overrides) or str(config)
        raise UserError(f"{folder / 'base.yaml'}: trials had other values than {what}; {remedy}")


def _check(base: Config, dimensions: Sequence[Dimension]) -> None:
    """Each trial must find its tasks and features in the data, and have a folder of its own."""
    if base.checkpoint.path:
        raise UserError(
            f"checkpoint.path: {base.checkpoint.path!r} is one folder and the trials are many "
            "runs; leave it out, and each keeps its checkpoints in its own folder"
        )
    schema = Schema.load(base.data.path)
    select(base, schema)
    for one in dimensions:
        for value in one.samples:
            where = f"--search {one.field}"
            select(laid_over(base, {one.field: value}, where=where), schema)


def _is_leftover(path: Path) -> bool:
    """Whether it is of a search that ended before it had begun."""
    if path.name == "base.yaml":
        return path.read_text(encoding="utf-8", errors="replace").startswith(f"# {_HEAD}\n")
    return path.name in ("lock", ".base.yaml.partial", f".{_MARK}.partial")


_SEARCH = Kind(name="search", mark=_MARK, is_leftover=_is_leftover, check=None)


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of what a tree gives a value."""
    found = []
    for name, value in tree.items():
        inner = isinstance(value, dict)
        found += _leaves(value, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found
