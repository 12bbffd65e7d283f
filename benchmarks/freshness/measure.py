"""From what was sent and what was answered to seconds per event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sent(NamedTuple):
    """Events that were sent at once."""

    time: float
    rows: int
    """Events sent so far, with these."""


class Answered(NamedTuple):
    """The first answer of a model."""

    time: float
    rows: int
    """Events that the model has learnt from."""


def freshness(sent: Sequence[Sent], answered: Sequence[Answered]) -> NDArray[np.float64]:
    """Return, for each event that some answer has learnt from, the seconds until the first one.

    `answered` is in order of time.
    """
    counts = np.diff([0, *(one.rows for one in sent)])
    times = np.repeat([one.time for one in sent], counts)
    seconds = []
    known = 0
    for one in answered:
        new = times[known : one.rows]
        seconds.append(one.time - new)
        known = max(known, one.rows)
    return np.concatenate([np.empty(0), *seconds])
