"""Which trial is not worth its end: the median rule, over rows seen instead of steps."""

from __future__ import annotations

from statistics import median

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState


class MedianByRows(BasePruner):
    """Stop a trial whose best figure so far is worse than the median of the finished trials' at as
    many rows. Reports must come by rows seen.

    Optuna's MedianPruner compares figures of the very same step alone. Trials of other batch sizes
    evaluate at other rows: here a trial stands with what it last had when it had seen no more rows.
    Where all evaluate at the same rows both decide alike. `startup`: finished trials before any is
    stopped.
    """

    def __init__(self, startup: int) -> None:
        self._startup = startup

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop `trial` after what it reported last."""
        rows = trial.last_step
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if rows is None or len(finished) < max(1, self._startup):
            return False
        peers = [value for peer in finished if (value := _at(peer, rows)) is not None]
        if not peers:
            return False
        if study.direction == StudyDirection.MAXIMIZE:
            return max(trial.intermediate_values.values()) < median(peers)
        return min(trial.intermediate_values.values()) > median(peers)


def _at(trial: FrozenTrial, rows: int) -> float | None:
    """The figure that a trial had when it had seen `rows`."""
    seen = [step for step in trial.intermediate_values if step <= rows]
    return trial.intermediate_values[max(seen)] if seen else None
