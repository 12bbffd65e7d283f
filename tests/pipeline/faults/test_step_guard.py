"""The limit of loss spikes."""

from __future__ import annotations

import math
import random
import statistics

import pytest
import torch

from pipeline.faults.step_guard import spike_limit


@pytest.mark.parametrize("window", [2, 7, 8])
def test_the_limit_is_median_and_mad_of_the_known_losses(window: int) -> None:
    for known in range(window + 1):
        losses = [random.Random(known).gauss(1, 2) for _ in range(known)]
        recent_N = torch.tensor([math.nan] * (window - known) + losses, dtype=torch.float64)
        assert math.isinf(spike_limit(recent_N, 0))
        limit = float(spike_limit(recent_N, 3))
        if known < window // 2:
            assert limit == math.inf
        else:
            median = statistics.median_low(losses)
            mad = statistics.median_low([abs(loss - median) for loss in losses])
            assert limit == median + 3 * mad
