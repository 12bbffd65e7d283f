"""A hyperparameter search: an experiment whose runs, the trials, are drawn by a sampler.

Its folder contains tune.json, trial-NNNN/ (one run each), logs/, best.yaml and report.html.
tune.json has the complete state and is rewritten at every change: a search always resumes from it,
and each trial from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.experiment import ExperimentRun, RunOutcome, Skipped
from pipeline.experiments.sampler import Sampler, State, Trial
from pipeline.experiments.search_report import FOUND, write_tune_report
from pipeline.experiments.search_space import Dimension, ParamValue, laid_over
from pipeline.io.errors import UserError
from pipeline.io.files import write_json, write_text
from pipeline.metrics.spec import lower_is_better

# A trial with less than this share of its steps left is not stopped, because its last evaluation is
# worth the time.
_NEARLY_DONE = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a search."""

    search: Sequence[str]
    """List of FIELD=VALUES."""
    trials: int = 20
    jobs: int = 1
    nproc: int = 1
    seed: int = 0
    pruner: Literal["median", "none"] = "median"
    startup: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRun(ExperimentRun):
    """Run of a trial."""

    number: int


class Search:
    """Draws trials, prunes them, and records their results."""

    def __init__(
        self,
        folder: Path,
        base: Config,
        dimensions: Sequence[Dimension],
        settings: Settings,
        trials: list[Trial],
    ) -> None:
        self.settings = settings
        self._folder = folder
        self._base = base
        self.dimensions = dimensions
        self._trials = trials
        self._unfinished = [trial for trial in trials if trial.state == "running"]
        for trial in self._unfinished:
            self._check_there(trial)
        self._train_rows = Schema.load(base.data.path).splits["train"].rows
        self._sampler = Sampler(
            dimensions=dimensions,
            maximize=not lower_is_better(base.train.select),
            seed=settings.seed,
        )
        self._importance = self._sampler.importance(trials)
        self._save()

    @property
    def total(self) -> int:
        return self.settings.trials

    @property
    def num_ended(self) -> int:
        return sum(trial.state != "running" for trial in self._trials)

    @property
    def footer(self) -> str:
        best = self.best()
        return "" if best is None else f"best {best.value:.4f} (trial {best.trial})"

    def next_run(self) -> TrialRun | Skipped | None:
        if self._unfinished:
            trial = self._unfinished.pop(0)
        elif (number := len(self._trials)) < self.settings.trials:
            params = self._sampler.propose(self._trials)
            trial = Trial(trial=number, run=_name(number), params=params)
            self._trials.append(trial)
            self._save()
        else:
            return None
        if twin := self._twin(trial):
            trial.run, trial.value, trial.evaluations = twin.run, twin.value, twin.evaluations
            return Skipped(self._end(trial, twin.state))
        try:
            config = laid_over(self._base, trial.params, where=trial.run)
        except UserError as error:  # incompatible values must not end the search
            return Skipped(self._end(trial, "failed", str(error).removeprefix(f"{trial.run}: ")))
        train = config.train
        steps = max(1, train.epochs * (self._train_rows // train.batch_size))
        return TrialRun(
            number=trial.trial,
            name=f"trial {trial.trial}",
            folder=self._folder / trial.run,
            log=self._folder / "logs" / f"{trial.run}.log",
            config=config,
            steps=min(train.max_steps or steps, steps),
        )

    def evaluated(self, run: TrialRun, step: int, value: float) -> bool:
        trial, rows = self._trials[run.number], step * run.config.train.batch_size
        if any(rows == at for at, _ in trial.evaluations):
            return False  # a resumed run repeats evaluations
        trial.evaluations.append((rows, value))
        trial.value = self._sampler.best(value for _, value in trial.evaluations)
        self._save()
        if self.settings.pruner == "none" or step >= (1 - _NEARLY_DONE) * run.steps:
            return False
        return self._sampler.is_poor(trial, self._trials, self.settings.startup)

    def ended(self, run: TrialRun, outcome: RunOutcome, error: str | None, seconds: float) -> str:
        trial = self._trials[run.number]
        trial.seconds = round((trial.seconds or 0) + seconds, 1)
        if outcome == "stopped":  # it resumes with the search
            self._save()
            return f"{run.name} stopped"
        if outcome != "done":
            return self._end(trial, outcome, error)
        if trial.value is None:
            reason = f"no finite {run.config.train.select} on validation rows"
            return self._end(trial, "failed", reason)
        return self._end(trial, "complete")

    def write_pages(self) -> dict[str, Any]:
        """Write best.yaml and the report; returns the content of tune.json."""
        found = self._save()
        if best := self.best():
            config = laid_over(self._base, best.params, where=f"trial {best.trial}")
            text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
            what = f"{self._base.train.select} {best.value:.4f}"
            path = self._folder / "best.yaml"
            write_text(path, f"# Trial {best.trial} of {self._folder}: {what}.\n{text}")
        write_tune_report(self._folder, found)
        return found

    def _save(self) -> dict[str, Any]:
        """Write tune.json; returns its content."""
        best, select_by = self.best(), self._base.train.select
        found = {
            "recipe": self._base.recipe,
            "data": str(self._base.data.path),
            "select": select_by,
            "lower_is_better": lower_is_better(select_by),
            "seed": self.settings.seed,
            "log_scale": [one.field for one in self.dimensions if getattr(one, "log", False)],
            "searches": [one.field for one in self.dimensions],
            "best": best and best.trial,
            "importance": self._importance,
            "trials": [asdict(trial) for trial in self._trials],
            "settings": asdict(self.settings),
            "config": self._base.model_dump(mode="json"),
        }
        write_json(self._folder / FOUND, found)
        return found

    def _check_there(self, trial: Trial) -> None:
        """A trial that has trained and is gone is not to be trained anew unasked."""
        place = self._folder / trial.run
        if trial.evaluations and not (place / "config.json").is_file():
            raise UserError(
                f"{self._folder}: trial {trial.trial} was unfinished, but {place} is gone; restore "
                "it (is a disk not mounted?), or start another search with --out"
            )

    def best(self) -> Trial | None:
        """Return the best finished trial."""
        complete = [trial for trial in self._trials if trial.state == "complete"]
        values = [trial.value for trial in complete if trial.value is not None]
        return complete[values.index(self._sampler.best(values))] if values else None

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial in self._trials if trial.state == "failed"]

    def value_of(self, params: Mapping[str, ParamValue] | None) -> float | None:
        """Return the value of the complete trial with these values; None if there is none."""
        found = (one for one in self._trials if one.state == "complete" and one.params == params)
        return next((one.value for one in found), None)

    def _twin(self, trial: Trial) -> Trial | None:
        """Return an earlier trial with the same values, which need not run again, because training
        is a function of the configuration. Failed trials do not count: their cause may be gone."""
        for twin in self._trials[: trial.trial]:
            if twin.state in ("complete", "pruned") and twin.params == trial.params:
                return twin
        return None

    def _end(self, trial: Trial, state: State, error: str | None = None) -> str:
        """Record the end of a trial; returns a line about it."""
        trial.state, trial.error = state, error
        self._importance = self._sampler.importance(self._trials)
        best = self.write_pages()["best"]
        parts = [f"trial {trial.trial} {state}"]
        parts += [] if trial.value is None else [f"{trial.value:.4f}"]
        parts += ["(best so far)"] if best == trial.trial else []
        parts += [f"{field}={_short(value)}" for field, value in trial.params.items()]
        twin = f"same values as {trial.run}"
        note = error or (twin if trial.run != _name(trial.trial) else "")
        return " ".join(parts) + (f": {note}" if note else "")


def _name(number: int) -> str:
    """Return the folder name of a trial's run."""
    return f"trial-{number:04d}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
