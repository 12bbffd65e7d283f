"""What a search tries next, which trial it stops early, and which fields mattered."""

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
# Below this many finished trials a field's weight is noise.
_TRIALS_FOR_IMPORTANCE = 8


@dataclass(kw_only=True, slots=True)
class Trial:
    """What was tried and what came of it; an entry of `trials` in tune.json."""

    trial: int
    """Its number."""
    run: str
    """Folder of its run: another trial's where that one had the same values."""
    state: State = "running"
    value: float | None = None
    """The best it reported, which is that of its best checkpoint."""
    params: dict[str, ParamValue]
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    """Rows seen, and the metric then; in this order."""
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Optuna's TPE over the trials of a search. It keeps no state: the trials are all."""

    dimensions: Sequence[Dimension]
    maximise: bool
    seed: int

    def propose(self, trials: Sequence[Trial]) -> dict[str, ParamValue]:
        """Values for the next trial. A function of the seed, its number, and earlier trials."""
        study = self._study(trials)
        # A generator for each trial: a search that is resumed draws what it would have drawn.
        state = np.random.SeedSequence([self.seed, len(trials)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        return study.ask(self._distributions()).params

    def importance(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Share of each field in what tells good trials from bad (PED-ANOVA); {} if too few."""
        complete = sum(trial.state == "complete" for trial in trials)
        if complete < _TRIALS_FOR_IMPORTANCE or len(self.dimensions) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(self._study(trials), evaluator=evaluator)

    def best(self, values: Iterable[float]) -> float:
        return max(values) if self.maximise else min(values)

    def is_poor(self, trial: Trial, trials: Sequence[Trial], startup: int) -> bool:
        """Whether the best value of `trial` is worse than the median of the finished ones' at as
        many rows; not before `startup` have finished.

        Optuna's MedianPruner compares values at the very same step. Trials of other batch sizes
        evaluate at other rows: here a trial counts with what it last had when it had seen no more.
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
        return best < middle if self.maximise else best > middle

    def _study(self, trials: Sequence[Trial]) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize" if self.maximise else "minimize")
        study.add_trials(map(self._frozen, trials))
        return study

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return create_trial(
            state=_STATES[trial.state],
            value=trial.value if trial.state == "complete" else None,
            params=trial.params,
            distributions=self._distributions(),
            intermediate_values=dict(trial.evaluations),
        )

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {one.field: _distribution(one) for one in self.dimensions}


def _distribution(one: Dimension) -> BaseDistribution:
    if isinstance(one, OneOf):
        return CategoricalDistribution(one.values)
    if isinstance(one.low, int) and isinstance(one.high, int):
        return IntDistribution(one.low, one.high, log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)
