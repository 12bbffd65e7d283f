"""Table rows to the tower's input: look-ups, pooling, target attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from models.layers.attention import Attention
from pipeline.data.schema import SparseFeature
from pipeline.scoring.columns import Ids
from pipeline.scoring.manifest import Manifest
from pipeline.scoring.tables import MappedTable
from pipeline.scoring.tower import load_attention


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embeddings of some features."""

    pooled: dict[str, Tensor] = field(default_factory=dict)
    """By feature, [B, D]."""
    rows: dict[str, Tensor] = field(default_factory=dict)
    """By history of target attention, [L, D]."""
    lengths: dict[str, Tensor] = field(default_factory=dict)
    """By history, [B]: number of its rows."""


class Lookup:
    """Maps ids to embeddings, and embeddings to the tower's input."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._tables = {one.name: MappedTable(folder, one) for one in manifest.tables}
        self._features = {one.name: one for one in manifest.sparse}
        self._averaged = frozenset(manifest.averaged)
        self._histories = frozenset(manifest.attention.histories)
        self._attention: Attention | None = load_attention(folder, manifest)
        dims = [self._table(self._features[name]).record.dim for name in manifest.pooled]
        ends = list(accumulate(dims, initial=0))
        self._places = {
            name: slice(start, start + dim)
            for name, start, dim in zip(manifest.pooled, ends, dims, strict=False)
        }
        attended = 0 if self._attention is None else self._attention.num_features
        self._attended = slice(ends[-1], ends[-1] + attended)
        self.width = self._attended.stop + len(manifest.dense)
        """Width of the tower's input."""

    def _table(self, feature: SparseFeature) -> MappedTable:
        return self._tables[feature.table]

    def embed(self, ids: Mapping[str, Ids]) -> Embedded:
        """Look up the rows of some features, and pool them."""
        found = Embedded()
        for name, one in ids.items():
            table = self._table(self._features[name])
            if one.lengths_B is None:
                found.pooled[name] = table.rows(one.values_L)
                continue
            if name in self._histories:
                found.rows[name] = table.rows(one.values_L)
                found.lengths[name] = one.lengths_B
            if name in self._places:
                sums_BD = table.bags(one.values_L, one.lengths_B, one.weights_L)
                if name in self._averaged:
                    # As in training: an empty bag is zero and remains zero.
                    sums_BD *= one.lengths_B.clamp(min=1).float().reciprocal()[:, None]
                found.pooled[name] = sums_BD
        return found

    def assemble(self, request: Embedded, rows: Embedded, dense_BN: Tensor) -> Tensor:
        """Return the tower's input [B, F]; the features of `request` have one row, for all."""
        num_rows = len(dense_BN)
        v_BF = torch.empty(num_rows, self.width)
        for name, place in self._places.items():
            v_BF[:, place] = request.pooled[name] if name in request.pooled else rows.pooled[name]
        if self._attention is not None:
            v_BF[:, self._attended] = self._attend(self._attention, request, rows, num_rows)
        v_BF[:, self._attended.stop :] = dense_BN
        return v_BF

    @staticmethod
    def _attend(attention: Attention, request: Embedded, rows: Embedded, num_rows: int) -> Tensor:
        """Histories of a request are the same for each of its rows."""
        histories = {name: one.repeat(num_rows, 1) for name, one in request.rows.items()}
        lengths = {name: one.expand(num_rows) for name, one in request.lengths.items()}
        candidates = {name: one.expand(num_rows, -1) for name, one in request.pooled.items()}
        found: Tensor = attention(
            {**histories, **rows.rows}, {**lengths, **rows.lengths}, {**candidates, **rows.pooled}
        )
        return found
