"""Devices of unequal speed: what a shard takes where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.planner.inputs.arrays import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """The sets of ranks on which a column block of each placement may be."""

    everywhere: IntArray
    """Placements on all ranks."""
    host_rows: IntArray
    """Placements on all ranks of a host."""
    pinned: tuple[tuple[IntArray, tuple[int, ...]], ...]
    """Placements and the ranks that a rule gives them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speeds:
    """K speeds of R ranks, H kinds of hosts, and the milliseconds of a shard of N placements."""

    of: IntArray
    """[R] index of every rank's speed; each of them occurs."""
    ms: FloatArray
    """[N, K] milliseconds of a shard."""
    fits: FloatArray
    """[N, K] 0 if the largest shard fits on some empty rank of that speed, else infinity."""
    hosts: IntArray
    """[H, K] ranks of each speed on a host."""
    host_fits: FloatArray
    """[N, H] 0 if a column block split over a host's ranks fits on an empty one, else infinity."""

    @property
    def sizes(self) -> IntArray:
        """[K] number of ranks."""
        return np.bincount(self.of, minlength=self.ms.shape[1])


def speeds_of(
    of: IntArray, ms: FloatArray, free: IntArray, local: int, memory: IntArray, counts: IntArray
) -> Speeds:
    """Return which ranks and hosts have room. `free`, `memory`, `counts`: see Problem."""
    fits = np.zeros(ms.shape, bool)
    for *room, speed in np.unique(np.vstack([free, of]), axis=1).T.tolist():
        fits[:, speed] |= (memory[:, 0] <= room).all(axis=1)
    hosts = np.unique(np.vstack([free, of]).reshape(-1, len(of) // local, local), axis=1)
    number = [np.bincount(host, minlength=ms.shape[1]) for host in hosts[-1]]
    host_fits = np.zeros((len(ms), len(number)), bool)
    rooms = hosts[:-1]
    for n, (sizes, needs) in enumerate(zip(counts, memory, strict=True)):
        block = np.repeat(needs.T, sizes, axis=1)
        if block.shape[1] == local:
            host_fits[n] = (rooms >= block[:, None]).all(axis=(0, 2))
    return Speeds(
        of=of, ms=ms, fits=_allowed(fits), hosts=np.array(number), host_fits=_allowed(host_fits)
    )


def _allowed(fits: NDArray[np.bool_]) -> FloatArray:
    """Return 0 where it fits, else infinity; all 0 if it fits nowhere: the search reports that."""
    return np.where(fits | ~fits.any(axis=1, keepdims=True), 0.0, np.inf)


def slowest_ms(speeds: Speeds, sites: Sites) -> FloatArray:
    """Return the milliseconds of the slowest shard, on the ranks that suit it best, [N]."""
    return _best(speeds, sites, np.ones(len(speeds.sizes)), slowest=True)


def mean_ms(speeds: Speeds, sites: Sites, weights: FloatArray) -> FloatArray:
    """Return the mean of `weights` (by speed) x milliseconds over the shards, at least, [N]."""
    return _best(speeds, sites, weights, slowest=False)


def _best(speeds: Speeds, sites: Sites, weights: FloatArray, *, slowest: bool) -> FloatArray:
    weighted = speeds.ms * weights

    def over(placements: IntArray, number: IntArray) -> FloatArray:
        """`number`: of ranks by speed."""
        mine = weighted[placements]
        found: FloatArray = (
            mine[:, number > 0].max(axis=1) if slowest else mine @ (number / number.sum())
        )
        return found

    best: FloatArray = (weighted + speeds.fits).min(axis=1)
    best[sites.everywhere] = over(sites.everywhere, speeds.sizes)
    rows = sites.host_rows
    by_host = np.array([over(rows, number) for number in speeds.hosts]).T
    best[rows] = (by_host + speeds.host_fits[rows]).min(axis=1)
    for placements, ranks in sites.pinned:
        best[placements] = over(
            placements, np.bincount(speeds.of[list(ranks)], minlength=len(weights))
        )
    return best
