"""The folder of a search: what it searches, who may write there, and what it has found.

base.yaml   what all trials begin from       journal.log  Optuna's own record
search.json what is searched, and how        logs/        what each trial printed
trial-NNNN/ a run                            tune.json, best.yaml, report.html
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from launchers.cli.tune import JOBS, NPROC, SEED, STARTUP, TRIALS
from launchers.experiments.trials import Trials
from pipeline.checkpoint.progress import lower_is_better
from pipeline.config.overrides import amend, parse, resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.search_report import FOUND, write_tune_report
from pipeline.experiments.search_space import laid_over, read_searches
from pipeline.io.claim_folder import Kind, claim
from pipeline.io.errors import UserError
from pipeline.io.files import write_json, write_text
from pipeline.training.resolve_features import select

_MARK = "search.json"
_HEAD = "What all trials begin from."
_DEFAULTS = {
    "trials": TRIALS,
    "jobs": JOBS,
    "nproc": NPROC,
    "seed": SEED,
    "pruner": "median",
    "startup": STARTUP,
}
_LOWEST = {"trials": 1, "jobs": 1, "nproc": 1, "seed": 0, "startup": 1}


class TuneFolder:
    """Open while a search is under way; then nobody else may write there."""

    def __init__(self, args: argparse.Namespace, overrides: Sequence[str]) -> None:
        """A new search, checked whole before the folder is made; or, with --resume, one that is.

        UserError for what is wrong with either.
        """
        _check(args)
        self.path: Path = args.out or Path("runs") / f"tune-{args.recipe or 'demo'}"
        self.base_yaml = self.path / "base.yaml"
        saved = self._saved() if args.resume else {}
        if args.resume:
            self.lock = self._locked()
            self.base = resolve(None, self.base_yaml, [])
            self._check_same(args, overrides, saved)
        else:
            self.base = resolve(args.recipe, args.config, overrides)
        if self.base.checkpoint.path:
            raise UserError(
                f"checkpoint.path: {self.base.checkpoint.path!r} is one folder and the trials are "
                "many runs; leave it out, and each keeps its checkpoints in its own folder"
            )
        texts: list[str] = saved["search"] if saved else args.search
        fixed = _leaves(parse(overrides))
        self.searches = read_searches(texts, self.base, [] if args.resume else fixed)
        self._schema = Schema.load(self.base.data.path)
        self._check_names()
        given = {name: getattr(args, name) for name in _DEFAULTS}
        settings = {**_DEFAULTS, **saved, **{k: v for k, v in given.items() if v is not None}}
        self.trials, self.jobs, self.nproc = (settings[k] for k in ("trials", "jobs", "nproc"))
        self._seed = settings["seed"]
        self._startup = None if settings["pruner"] == "none" else settings["startup"]
        if not args.resume:
            claim(self.path, _SEARCH)
            self.lock = self._locked()
            write_text(self.base_yaml, _yaml(self.base, _HEAD))
        write_json(self.path / _MARK, {**settings, "search": texts})

    def open_trials(self) -> Trials:
        """UserError for a journal that is damaged."""
        return Trials(
            self.path,
            self.searches,
            maximise=not lower_is_better(self.base.train.select),
            seed=self._seed,
            startup=self._startup,
        )

    def total_rows(self, config: Config) -> int:
        """Rows that a trial sees if it runs to its end."""
        rows = config.train.epochs * self._schema.splits["train"].rows
        most = config.train.max_steps * config.train.batch_size
        return min(rows, most) if most else rows

    def write(self, trials: Trials) -> dict[str, Any]:
        """tune.json, best.yaml and the report anew; returns what is in tune.json."""
        best = trials.best()
        found = {
            "recipe": self.base.recipe,
            "data": str(self.base.data.path),
            "select": self.base.train.select,
            "lower_is_better": lower_is_better(self.base.train.select),
            "seed": self._seed,
            "log_scale": [s.field for s in self.searches if getattr(s, "log", False)],
            "searches": [search.field for search in self.searches],
            "best": None if best is None else best[0],
            "importance": trials.importance(),
            "trials": trials.records(),
        }
        write_json(self.path / FOUND, found)
        if best is not None:
            number, value = best
            params = found["trials"][number]["params"]
            config = laid_over(self.base, params, where=f"trial {number}")
            head = f"Trial {number} of {self.path}: {self.base.train.select} {value:.4f}."
            write_text(self.path / "best.yaml", _yaml(config, head))
        write_tune_report(self.path, found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.lock)

    def _saved(self) -> dict[str, Any]:
        path = self.path / _MARK
        if not path.is_file():
            raise UserError(
                f"{self.path}: no search to go on with (no {_MARK}); name its folder with "
                "--out, or leave --resume out to begin one"
            )
        try:
            saved: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: not JSON: {error}; begin another with --out") from error
        return saved

    def _check_same(
        self, args: argparse.Namespace, overrides: Sequence[str], saved: dict[str, Any]
    ) -> None:
        """Trials of one search share all that is not searched."""
        remedy = "leave it out to go on, or begin another search with --out"
        if args.search and args.search != saved["search"]:
            was = " ".join(f"--search {text}" for text in saved["search"])
            raise UserError(f"{self.path}: was begun with {was}, not with other ones; {remedy}")
        if args.seed is not None and args.seed != saved["seed"]:
            raise UserError(f"{self.path}: was begun with --seed {saved['seed']}; {remedy}")
        if amend(self.base, args.recipe, args.config, overrides) != self.base:
            what = " ".join(overrides) or str(args.config)
            raise UserError(f"{self.base_yaml}: trials had other values than {what}; {remedy}")

    def _check_names(self) -> None:
        """Tasks and features that the configurations name must be in the data."""
        select(self.base, self._schema)
        for search in self.searches:
            for value in search.samples:
                where = f"--search {search.field}"
                config = laid_over(self.base, {search.field: value}, where=where)
                select(config, self._schema)

    def _locked(self) -> int:
        """A file that no other process holds. Trials inherit it: it is held until they ended."""
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UserError(
                f"{self.path}: a search is under way there, or its last trials are still saving; "
                "wait for their end, or name another folder with --out"
            ) from error
        return file


def _is_leftover(path: Path) -> bool:
    """Whether it is of a search that ended before it had begun."""
    if path.name == "base.yaml":
        return path.read_text(errors="replace").startswith(f"# {_HEAD}\n")
    return path.name in ("lock", ".base.yaml.partial", f".{_MARK}.partial")


_SEARCH = Kind(name="search", mark=_MARK, is_leftover=_is_leftover, check=None)


def _check(args: argparse.Namespace) -> None:
    for name, lowest in _LOWEST.items():
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UserError(f"command line: --{name} {value}: is at least {lowest}")
    if args.scheduler != "local_cwd":
        raise UserError(
            f"command line: --scheduler {args.scheduler}: trials run on this machine alone "
            "(local_cwd); start 'homerec tune' inside an allocation of the cluster"
        )


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of what a tree gives a value."""
    found = []
    for name, value in tree.items():
        inner = isinstance(value, dict)
        found += _leaves(value, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def _yaml(config: Config, head: str) -> str:
    """A whole configuration, as `homerec train --config` reads it."""
    return f"# {head}\n{yaml.safe_dump(config.model_dump(mode='json'), sort_keys=False)}"
