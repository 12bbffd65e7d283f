"""Finds the rows of keys: like a join that keeps its hash table from one chunk to the next."""

from __future__ import annotations

from itertools import count

import numpy as np
import polars as pl
import pyarrow as pa

ROW = " row"
"""Column of row numbers; key columns are named by their position."""


class KeyIndex:
    """Sorted hashes of unique keys. What a hash finds is compared with the key, so that a result
    never depends on hashes."""

    def __init__(self, keys: pl.DataFrame) -> None:
        """`keys`: columns of text without nulls, and the row of each key in ROW."""
        rows = keys[ROW].to_numpy()
        keys = keys.drop(ROW)
        for seed in count():
            hashes = keys.hash_rows(seed).to_numpy()
            order = np.argsort(hashes)
            hashes = hashes[order]
            if (hashes[1:] != hashes[:-1]).all():
                break
        self._seed = seed
        self._hashes = hashes
        self._rows = rows[order]
        self._keys = keys[order]

    def find(self, keys: pl.DataFrame) -> pa.Array:
        """Return the row of each key, null where it is unknown or one of its columns is null."""
        if not len(self._hashes):
            return pa.nulls(len(keys), pa.uint32())
        hashes = keys.hash_rows(self._seed).to_numpy()
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self._hashes)] = 0
        same = pl.Series(self._hashes[places] == hashes)
        for name, column in self._keys[places].to_dict().items():
            same &= (column == keys[name]).fill_null(False)
        return pa.array(self._rows[places], mask=~same.to_numpy())
