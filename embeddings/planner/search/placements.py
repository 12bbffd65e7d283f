"""A problem's placements in the format of the assignment's inner loops."""

from __future__ import annotations

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.problem.problem import Problem

# Longer rows of bytes are not cached.
_WORTH_KEEPING = 64


class Placements:
    """A problem's placements as Python numbers, and the places of its ranks."""

    def __init__(self, problem: Problem) -> None:
        order = np.arange(problem.ranks).reshape(problem.hosts, problem.local).T.reshape(-1)
        self.rank_of: IntArray = order
        self.place_of: IntArray = np.argsort(order)
        self.rows: IntArray = np.arange(problem.local) * problem.hosts
        self.layout: list[int] = problem.layout.tolist()
        self.blocks: list[int] = problem.blocks.tolist()
        self.time: list[float] = problem.time.tolist()
        self.memory: list[IntArray] = list(problem.memory[:, 0])
        """Bytes of the first shard, which is the largest."""
        speeds = problem.speeds
        self._slower = None if speeds is None else speeds.ms - problem.time[:, None]
        self._speed: IntArray = order if speeds is None else speeds.of[order]
        self._problem = problem
        self._needs: dict[int, IntArray] = {}

    def slower(self, placement: int) -> FloatArray | None:
        """Return the milliseconds that a shard takes more than `time` on every place, [R]; None if
        all ranks are equally fast."""
        return None if self._slower is None else self._slower[placement][self._speed]

    def needs(self, placement: int) -> IntArray:
        """Return the bytes of every shard of a placement, in order, [3, S]."""
        known = self._needs.get(placement)
        if known is None:
            column = np.repeat(
                self._problem.memory[placement].T, self._problem.counts[placement], axis=1
            )
            known = np.tile(column, self.blocks[placement])
            if known.shape[1] < _WORTH_KEEPING:
                self._needs[placement] = known
        return known
