"""The trials of a search, kept in a file: what was tried, what came of it, what to try next.

Optuna's study, which has nothing to do with the studies of `homerec compare`. Everything is in the
journal once a call returns: after a kill it opens again as it was, with the trials that were under
way still under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.experiments.pruner import MedianByRows
from pipeline.experiments.search_space import Dimension, OneOf, ParamValue
from pipeline.io.errors import UserError

JOURNAL = "journal.log"
State = Literal["complete", "pruned", "failed", "running"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
# Below this many finished trials a field's weight is noise.
_TRIALS_FOR_IMPORTANCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A trial to run."""

    number: int
    params: Mapping[str, ParamValue]

    @property
    def name(self) -> str:
        return trial_name(self.number)


class Trials:
    """One process at a time may open those of a folder."""

    def __init__(
        self,
        folder: Path,
        dimensions: Sequence[Dimension],
        *,
        maximise: bool,
        seed: int,
        startup: int | None,
    ) -> None:
        """`startup`: finished trials before one is stopped early; None: none ever is.

        UserError for a journal that is damaged.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells each trial's end itself
        journal = folder / JOURNAL
        _mend(journal)
        self._dimensions = dimensions
        self._seed = seed
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="homerec",
            direction="maximize" if maximise else "minimize",
            pruner=optuna.pruners.NopPruner() if startup is None else MedianByRows(startup),
            load_if_exists=True,
        )
        self._open: dict[int, Trial] = {}

    def unfinished(self) -> list[Proposal]:
        """Trials that were under way when an earlier process ended."""
        return [
            self._suggest(Trial(self._study, trial._trial_id))
            for trial in self._trials()
            if trial.state == TrialState.RUNNING and trial.number not in self._open
        ]

    def ask(self) -> Proposal:
        """The next trial. A function of the seed, its number, and what was told before."""
        return self._suggest(self._study.ask())

    def _suggest(self, trial: Trial) -> Proposal:
        """A value for each search; one that the trial has already stays."""
        # A generator of its own for each: a search that goes on draws what it would have drawn.
        state = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        self._study.sampler = TPESampler(seed=int(state[0]))
        self._open[trial.number] = trial
        params = {one.field: _draw(trial, one) for one in self._dimensions}
        return Proposal(number=trial.number, params=params)

    def report(self, number: int, rows: int, value: float) -> bool:
        """Note an evaluation after `rows` rows; returns whether the trial is not worth its end."""
        trial = self._open[number]
        if rows in self._trials()[number].intermediate_values:
            return False  # a run that goes on tells again what was judged before its interruption
        trial.report(value, rows)
        return trial.should_prune()

    def end(self, number: int, state: State, *, error: str | None) -> None:
        """Close a trial as 'complete' (its value: the best it reported), 'pruned' or 'failed'."""
        if error is not None:
            self._open[number].set_user_attr("error", error)
        reverse = {name: one for one, name in _STATES.items()}
        value = self._value(self._trials()[number]) if state == "complete" else None
        self._study.tell(number, value, state=reverse[state])

    def repeat(self, asked: Proposal) -> State | None:
        """End a trial as an earlier one with the same values ended; its state, or None: run it.

        Training is a function of the configuration: running it again would tell nothing. A failed
        trial is no such twin: its cause may be gone.
        """
        trials = self._trials()
        for twin in trials[: asked.number]:
            state = _STATES[twin.state]
            if state in ("complete", "pruned") and twin.params == asked.params:
                trial = self._open[asked.number]
                for rows, value in twin.intermediate_values.items():
                    trial.report(value, rows)
                trial.set_user_attr("run", self._record(twin)["run"])
                self.end(asked.number, state, error=None)
                return state
        return None

    def add_seconds(self, number: int, seconds: float) -> None:
        """Time that a trial ran: also a part of it, before an interruption."""
        trial = self._open[number]
        before = float(trial.user_attrs.get("seconds", 0))
        trial.set_user_attr("seconds", round(before + seconds, 1))

    def has_value(self, number: int) -> bool:
        """Whether a trial has reported a value."""
        return bool(self._trials()[number].intermediate_values)

    @property
    def num_trials(self) -> int:
        """Ended or under way."""
        return len(self._trials())

    @property
    def num_ended(self) -> int:
        return sum(trial.state.is_finished() for trial in self._trials())

    def best(self) -> tuple[int, float] | None:
        """Number and value of the best trial that ran to its end."""
        if not any(trial.state == TrialState.COMPLETE for trial in self._trials()):
            return None
        return self._study.best_trial.number, self._study.best_value

    def records(self) -> list[dict[str, Any]]:
        """Every trial as plain data, for tune.json and the report."""
        return [self._record(trial) for trial in self._trials()]

    def importance(self) -> dict[str, float]:
        """Share of each field in what tells good trials from bad (PED-ANOVA); {} if too few."""
        complete = [t for t in self._trials() if t.state == TrialState.COMPLETE]
        if len(complete) < _TRIALS_FOR_IMPORTANCE or len(self._dimensions) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def _record(self, trial: FrozenTrial) -> dict[str, Any]:
        values = trial.intermediate_values
        return {
            "trial": trial.number,
            "run": trial.user_attrs.get("run", trial_name(trial.number)),
            "state": _STATES[trial.state],
            "value": self._value(trial),
            "params": dict(trial.params),
            "evaluations": [[rows, values[rows]] for rows in sorted(values)],
            "seconds": trial.user_attrs.get("seconds"),
            "error": trial.user_attrs.get("error"),
        }

    def _value(self, trial: FrozenTrial) -> float | None:
        """The best figure that a trial reported: that of its best checkpoint."""
        values = trial.intermediate_values.values()
        pick = max if self._study.direction == StudyDirection.MAXIMIZE else min
        return pick(values) if values else None

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def trial_name(number: int) -> str:
    """Of the folder of a trial's run."""
    return f"trial-{number:04d}"


def _draw(trial: Trial, dimension: Dimension) -> ParamValue:
    if isinstance(dimension, OneOf):
        return trial.suggest_categorical(dimension.field, dimension.values)
    low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(dimension.field, low, high, step=int(step or 1), log=log)
    return trial.suggest_float(dimension.field, low, high, step=step, log=log)


def _mend(journal: Path) -> None:
    """Undo what a kill in the middle of a write left: Optuna would write on behind half a line, and
    wait for half a minute for its own lock. Nobody else is there: the folder is ours."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    text = journal.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{journal}: line {number} is damaged; begin another search with --out"
            ) from error
    if whole != text:
        with journal.open("r+b") as file:
            file.truncate(len(whole))
