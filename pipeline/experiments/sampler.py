"""Proposes trials, stops trials early, and computes the importance of fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.experiments.search_space import Dimension, OneOf, ParamValue

State = Literal["running", "complete", "pruned", "failed"]
_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
# Minimum number of finished trials for a field's importance.
_TRIALS_FOR_IMPORTANCE = 8


@dataclass(kw_only=True, slots=True)
class Trial:
    """A trial and its result; an entry of `trials` in tune.json."""

    trial: int
    """Index of the trial."""
    run: str
    """Folder of its run; that of another trial if that one had the same values."""
    state: State = "running"
    value: float | None = None
    """Best reported value, which is that of its best checkpoint."""
    params: dict[str, ParamValue]
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    """Pairs of rows seen and metric."""
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Optuna's TPE over the trials of a search. It has no state besides the trials."""

    dimensions: Sequence[Dimension]
    maximize: bool
    seed: int

    def propose(self, trials: Sequence[Trial]) -> dict[str, ParamValue]:
        """Return values for the next trial, a function of seed, index and earlier trials."""
        study = self._study(trials)
        # One generator per trial, so that a resumed search draws the same values.
        state = np.random.SeedSequence([self.seed, len(trials)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        return study.ask(_distributions(self.dimensions)).params

    def importance(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Return the importance of each field (PED-ANOVA); {} if there are too few trials."""
        complete = sum(trial.state == "complete" for trial in trials)
        if complete < _TRIALS_FOR_IMPORTANCE or len(self.dimensions) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(self._study(trials), evaluator=evaluator)

    def best(self, values: Iterable[float]) -> float:
        return max(values) if self.maximize else min(values)

    def is_poor(self, trial: Trial, trials: Sequence[Trial], startup: int) -> bool:
        """Whether the best value of `trial` is worse than the median of finished trials after as
        many rows; False before `startup` trials have finished.

        Optuna's MedianPruner compares values at the same step. Trials with other batch sizes
        evaluate after other numbers of rows: here a trial counts with its last value up to these
        rows.
        """
        finished = [other for other in trials if other.state == "complete"]
        if not trial.evaluations or len(finished) < max(1, startup):
            return False
        rows = trial.evaluations[-1][0]
        earlier = ([value for at, value in one.evaluations if at <= rows] for one in finished)
        peers = [values[-1] for values in earlier if values]
        if not peers:
            return False
        best, middle = self.best(value for _, value in trial.evaluations), median(peers)
        return best < middle if self.maximize else best > middle

    def _study(self, trials: Sequence[Trial]) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize" if self.maximize else "minimize")
        study.add_trials(frozen(trial, self.dimensions) for trial in trials)
        return study


def frozen(trial: Trial, dimensions: Sequence[Dimension]) -> FrozenTrial:
    """Return Optuna's form of a trial. Raises ValueError for values outside of the dimensions."""
    return create_trial(
        state=_STATES[trial.state],
        value=trial.value if trial.state == "complete" else None,
        params=trial.params,
        distributions=_distributions(dimensions),
        intermediate_values=dict(trial.evaluations),
    )


def _distributions(dimensions: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    return {one.field: _distribution(one) for one in dimensions}


def _distribution(one: Dimension) -> BaseDistribution:
    if isinstance(one, OneOf):
        return CategoricalDistribution(one.values)
    if isinstance(one.low, int) and isinstance(one.high, int):
        return IntDistribution(one.low, one.high, log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)
