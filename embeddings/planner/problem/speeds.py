"""Devices of unequal speed: what a shard takes where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Speeds:
    """K speeds of R ranks, and the milliseconds of a shard of N placements on each."""

    of: IntArray
    """[R] index of every rank's speed; each of them occurs."""
    ms: FloatArray
    """[N, K] milliseconds of a shard."""
    fits: FloatArray
    """[N, K] 0 if the largest shard fits on some empty rank of that speed, else infinity."""

    @property
    def sizes(self) -> IntArray:
        """[K] number of ranks."""
        return np.bincount(self.of, minlength=self.ms.shape[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """The sets of ranks on which a column block of each placement may be."""

    everywhere: IntArray
    """Placements on all ranks."""
    host_rows: IntArray
    """Placements on all ranks of a host."""
    pinned: tuple[tuple[IntArray, tuple[int, ...]], ...]
    """Placements and the ranks that a rule gives them."""
    local: int
    """Ranks of a host."""


def slowest_ms(speeds: Speeds, sites: Sites) -> FloatArray:
    """Return the milliseconds of the slowest shard, on the ranks that suit it best, [N]."""
    return _best(speeds, sites, np.ones(len(speeds.sizes)), slowest=True)


def mean_ms(speeds: Speeds, sites: Sites, weights: FloatArray) -> FloatArray:
    """Return the mean of `weights` (by speed) x milliseconds over the shards, at least, [N]."""
    return _best(speeds, sites, weights, slowest=False)


def _best(speeds: Speeds, sites: Sites, weights: FloatArray, *, slowest: bool) -> FloatArray:
    weighted = speeds.ms * weights
    count = len(speeds.sizes)

    def over(placements: IntArray, ranks: Sequence[int] | IntArray) -> FloatArray:
        number = np.bincount(speeds.of[ranks], minlength=count)
        mine = weighted[placements]
        found: FloatArray = (
            mine[:, number > 0].max(axis=1) if slowest else mine @ (number / number.sum())
        )
        return found

    best: FloatArray = (weighted + speeds.fits).min(axis=1)
    best[sites.everywhere] = over(sites.everywhere, np.arange(len(speeds.of)))
    if len(sites.host_rows):
        hosts = np.arange(len(speeds.of)).reshape(-1, sites.local)
        _, first = np.unique(np.sort(speeds.of[hosts], axis=1), axis=0, return_index=True)
        each = [over(sites.host_rows, hosts[host]) for host in first]
        best[sites.host_rows] = np.min(each, axis=0)
    for placements, ranks in sites.pinned:
        best[placements] = over(placements, list(ranks))
    return best
