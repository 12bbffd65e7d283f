"""The ways in which a job dies here, and where in its life."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Place = Literal["step", "save", "incremental", "commit", "load", "evaluation"]
How = Literal["rank", "agent", "all", "sigterm", "disk", "truncated", "flipped"]

_DYING: tuple[tuple[How, Place], ...] = (
    ("rank", "step"),
    ("rank", "save"),
    ("rank", "incremental"),
    ("rank", "load"),
    ("rank", "evaluation"),
    ("agent", "step"),
    ("agent", "save"),
    ("all", "step"),
    ("all", "incremental"),
    ("all", "commit"),
    ("all", "load"),
    ("all", "evaluation"),
    ("sigterm", "step"),
    ("sigterm", "save"),
    ("sigterm", "evaluation"),
    ("disk", "save"),
    ("disk", "incremental"),
    ("truncated", "step"),
    ("flipped", "save"),
)

DAMAGING: tuple[How, ...] = ("truncated", "flipped")


@dataclass(frozen=True)
class Fault:
    """One death.

    Attributes:
        how: whom SIGKILL takes (one rank, one of two agents with its rank, all with the launcher);
            or a SIGTERM to the launcher; or a disk that is full; or all, with the newest checkpoint
            damaged after.
        place: what the rank is doing: a step, writing a full or an incremental checkpoint,
            making a checkpoint of what all have written, loading one, evaluating.
        rank: which rank sees to it.
        nth: at which step, save, or evaluation after the start.
        delay_s: how long it has been at it.
    """

    how: How
    place: Place
    rank: int
    nth: int
    delay_s: float


def faults(count: int, ranks: int, seed: int) -> list[Fault]:
    """`count` of them, every way before any comes a second time; the same for the same seed."""
    dice = random.Random(seed)
    order: list[tuple[How, Place]] = []
    plain = [way for way in _DYING if way[0] not in DAMAGING]
    damaging = [way for way in _DYING if way[0] in DAMAGING]
    while len(order) < count:
        once = dice.sample(plain, len(plain))
        # A checkpoint must be there, and one saved since the last was damaged: far from each other.
        for number, way in enumerate(damaging, 1):
            once.insert(number * len(_DYING) // len(damaging) - 1, way)
        order += once
    return [
        Fault(
            how=how,
            place=place,
            rank=0 if place == "commit" else dice.randrange(ranks),  # rank 0 alone does that
            nth=dice.randint(3, 9) if place == "step" else 1,
            delay_s=dice.choice((0.0, 0.002, 0.005) if place == "step" else (0.0, 0.002, 0.01)),
        )
        for how, place in order[:count]
    ]
