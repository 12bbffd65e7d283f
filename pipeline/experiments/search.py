"""A hyperparameter search: an experiment whose runs a sampler draws, each a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.checkpoint.progress import lower_is_better
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.experiment import Outcome, Run, Skipped
from pipeline.experiments.search_report import FOUND, write_tune_report
from pipeline.experiments.search_space import Dimension, laid_over
from pipeline.experiments.trials import Proposal, State, Trials, trial_name
from pipeline.io.errors import UserError
from pipeline.io.files import write_json, write_text

# A trial with less than this share of its steps to go is let finish: its last evaluation is worth
# more than the seconds.
_NEARLY_DONE = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a search goes; search.json."""

    search: Sequence[str]
    """FIELD=VALUES each."""
    trials: int = 20
    jobs: int = 1
    nproc: int = 1
    seed: int = 0
    pruner: Literal["median", "none"] = "median"
    startup: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRun(Run):
    """The run of a trial."""

    number: int


class Search:
    """Draws trials, judges them while they run, and records how they ended."""

    def __init__(
        self, folder: Path, base: Config, dimensions: Sequence[Dimension], settings: Settings
    ) -> None:
        """UserError for a journal that is damaged."""
        self.folder = folder
        self.settings = settings
        self._base = base
        self._dimensions = dimensions
        self._train_rows = Schema.load(base.data.path).splits["train"].rows
        self._trials = Trials(
            folder,
            dimensions,
            maximise=not lower_is_better(base.train.select),
            seed=settings.seed,
            startup=None if settings.pruner == "none" else settings.startup,
        )
        self._unfinished = self._trials.unfinished()

    @property
    def total(self) -> int:
        return self.settings.trials

    @property
    def num_ended(self) -> int:
        return self._trials.num_ended

    @property
    def footer(self) -> str:
        best = self._trials.best()
        return "" if best is None else f"best {best[1]:.4f} (trial {best[0]})"

    def next_run(self) -> TrialRun | Skipped | None:
        if self._unfinished:
            trial = self._unfinished.pop(0)
        elif self._trials.num_trials < self.settings.trials:
            trial = self._trials.ask()
        else:
            return None
        if self._trials.repeat(trial):
            return Skipped(self._recorded(trial.number))
        try:
            config = laid_over(self._base, trial.params, where=trial.name)
        except UserError as error:  # values that do not go together: no reason to end the search
            reason = str(error).removeprefix(f"{trial.name}: ")
            return Skipped(self._end(trial.number, "failed", reason))
        return self._run(trial, config)

    def evaluated(self, run: TrialRun, step: int, value: float) -> bool:
        poor = self._trials.report(run.number, step * run.config.train.batch_size, value)
        return poor and step < (1 - _NEARLY_DONE) * run.steps

    def ended(self, run: TrialRun, outcome: Outcome, error: str | None, seconds: float) -> str:
        self._trials.add_seconds(run.number, seconds)
        if outcome == "stopped":  # still under way: it resumes with the search
            return f"{run.name} stopped"
        if outcome != "done":
            return self._end(run.number, outcome, error)
        if self._trials.has_value(run.number):
            return self._end(run.number, "complete", None)
        reason = f"no finite {run.config.train.select} on validation rows"
        return self._end(run.number, "failed", reason)

    def write(self) -> dict[str, Any]:
        """Write tune.json, best.yaml and the report anew; returns what is in tune.json."""
        best = self._trials.best()
        select_by = self._base.train.select
        found: dict[str, Any] = {
            "recipe": self._base.recipe,
            "data": str(self._base.data.path),
            "select": select_by,
            "lower_is_better": lower_is_better(select_by),
            "seed": self.settings.seed,
            "log_scale": [one.field for one in self._dimensions if getattr(one, "log", False)],
            "searches": [one.field for one in self._dimensions],
            "best": None if best is None else best[0],
            "importance": self._trials.importance(),
            "trials": self._trials.records(),
        }
        write_json(self.folder / FOUND, found)
        if best is not None:
            number, value = best
            params = found["trials"][number]["params"]
            config = laid_over(self._base, params, where=f"trial {number}")
            about = f"Trial {number} of {self.folder}: {select_by} {value:.4f}."
            write_text(self.folder / "best.yaml", config_yaml(config, about))
        write_tune_report(self.folder, found)
        return found

    def _run(self, trial: Proposal, config: Config) -> TrialRun:
        training = config.train
        steps = max(1, training.epochs * (self._train_rows // training.batch_size))
        return TrialRun(
            number=trial.number,
            name=f"trial {trial.number}",
            folder=self.folder / trial.name,
            log=self.folder / "logs" / f"{trial.name}.log",
            config=config,
            steps=min(training.max_steps or steps, steps),
        )

    def _end(self, number: int, state: State, error: str | None) -> str:
        self._trials.end(number, state, error=error)
        return self._recorded(number)

    def _recorded(self, number: int) -> str:
        """Write everything; a trial's end in a line."""
        found = self.write()
        trial = found["trials"][number]
        params = " ".join(f"{field}={_short(value)}" for field, value in trial["params"].items())
        value = "" if trial["value"] is None else f" {trial['value']:.4f}"
        star = " (best so far)" if found["best"] == number else ""
        twin = f": as {trial['run']}, which had the same values"
        note = "" if trial["run"] == trial_name(number) else twin
        tail = f": {trial['error']}" if trial["error"] else note
        return f"trial {number} {trial['state']}{value}{star}  {params}{tail}"


def config_yaml(config: Config, about: str) -> str:
    """A whole configuration, as `homerec train --config` reads it."""
    return f"# {about}\n{yaml.safe_dump(config.model_dump(mode='json'), sort_keys=False)}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
