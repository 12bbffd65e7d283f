"""Measure until the constants fit: a busy machine needs more rounds, or cannot be calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from embeddings.planner.calibration.fit import calibrate
from embeddings.planner.calibration.observed import Fit, Observed
from embeddings.planner.inputs.cluster import Cluster

# Constants that are off by more (root mean square) rank no plans.
_MAX_ERROR = 0.5
_TRIES = 3
# One factor for all widths; its fit is poor on any CPU, and few tables have weights.
_COARSE = ("backward of weighted",)


def calibrate_until_it_fits(
    observe: Callable[[int], Sequence[Observed]],
    cluster: Cluster,
    rounds: int,
    on_retry: Callable[[str, int], None] = lambda *_: None,
) -> tuple[Cluster, tuple[Fit, ...]]:
    """`calibrate`, and again after twice as many more rounds if that fits badly.

    Args:
        observe: measures so many more rounds; returns what all rounds so far observed.
        rounds: of the first try.
        on_retry: gets why, and how many more rounds there will be.

    Raises ValueError, with the reason, after three tries.
    """
    done, reason = 0, ""
    for _ in range(_TRIES):
        if done:
            on_retry(reason, rounds)
        observed = observe(rounds)
        done += rounds
        rounds = 2 * done
        try:
            found, fits = calibrate(observed, cluster)
        except ValueError as error:
            reason = str(error)
            continue
        bad = [fit for fit in fits if fit.error > _MAX_ERROR and fit.name not in _COARSE]
        if not bad:
            return found, fits
        worst = ", ".join(f"{fit.name} by {fit.error:.0%}" for fit in bad)
        reason = (
            f"predictions are off: {worst} (root mean square; at most {_MAX_ERROR:.0%} is taken)"
        )
    raise ValueError(
        f"calibration: {reason}, after {done} rounds; nothing is written; calibrate where little "
        "else runs, with more --rounds or a larger --batch-size"
    )
