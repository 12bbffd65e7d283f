"""Constants that fit badly are measured again, and refused if they still do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embeddings.planner.calibration.observed import Observed
from embeddings.planner.calibration.until_it_fits import calibrate_until_it_fits
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from tests.embeddings.planner.calibration.test_fit import observations


@pytest.fixture(scope="module")
def quiet() -> list[Observed]:
    return observations(load_cluster("cpu-2x1"))


def busy(quiet: Sequence[Observed], seed: int) -> list[Observed]:
    """Other work takes up to nine times as long as what is measured."""
    draw = np.random.default_rng(seed)
    return [
        Observed(
            file=one.file,
            ms=[{part: ms * draw.uniform(1, 10) for part, ms in rank.items()} for rank in one.ms],
        )
        for one in quiet
    ]


def test_more_rounds_where_other_work_disturbs(quiet: list[Observed]) -> None:
    asked: list[int] = []
    told: list[tuple[str, int]] = []

    def observe(rounds: int) -> list[Observed]:
        asked.append(rounds)
        return busy(quiet, 0) if len(asked) == 1 else quiet

    cluster: Cluster = load_cluster("cpu-2x1")
    found, fits = calibrate_until_it_fits(
        observe, cluster, 5, lambda reason, rounds: told.append((reason, rounds))
    )
    assert asked == [5, 10]
    ((reason, rounds),) = told
    assert reason.startswith("predictions are off: ")
    assert rounds == 10
    assert found.costs is not None
    assert max(fit.error for fit in fits) < 0.01


@pytest.mark.slow
def test_what_never_fits_is_refused_with_the_reason(quiet: list[Observed]) -> None:
    asked: list[int] = []

    def observe(rounds: int) -> list[Observed]:
        asked.append(rounds)
        return busy(quiet, len(asked))

    with pytest.raises(ValueError, match=r"off: .* by \d+%.*after 45 rounds; nothing is written"):
        calibrate_until_it_fits(observe, load_cluster("cpu-2x1"), 5)
    assert asked == [5, 10, 30]
