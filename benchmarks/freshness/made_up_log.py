"""Rows of a made-up log that has something to learn: users like items by hidden factors."""

from __future__ import annotations

import numpy as np
import polars as pl

_USERS, _ITEMS, _FACTORS = 2_000, 5_000, 4
_START_MS = 1_775_000_000_000


class MadeUpLog:
    """Draws rows; each seed has its own users and items."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._users = self._rng.normal(size=(_USERS, _FACTORS))
        self._items = self._rng.normal(size=(_ITEMS, _FACTORS))
        self._rows = 0

    def draw(self, rows: int) -> pl.DataFrame:
        """Return the next rows: user, item, device, price, ts in milliseconds, click and like."""
        rng = self._rng
        user = rng.zipf(1.3, rows) % _USERS
        item = rng.zipf(1.2, rows) % _ITEMS
        price = np.exp(rng.normal(size=rows))
        taste = (self._users[user] * self._items[item]).sum(1) / 2 - 0.3 * price
        times = _START_MS + 1000 * np.arange(self._rows, self._rows + rows)
        self._rows += rows
        return pl.DataFrame(
            {
                "user": user,
                "item": item,
                "device": np.array(["phone", "tablet", "web"])[rng.integers(0, 3, rows)],
                "price": price.astype(np.float32),
                "ts": times,
                "click": (rng.random(rows) < 1 / (1 + np.exp(-taste))).astype(np.int8),
                "like": (rng.random(rows) < 1 / (1 + np.exp(2 - taste))).astype(np.int8),
            }
        )
