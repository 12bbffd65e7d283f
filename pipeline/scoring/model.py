"""A model folder as a model.

model = ExportedModel.load(Path("model"))
probabilities = model.score(table)                # float32 [rows, tasks], in row order
probabilities = model.score_request(user, items)  # one row of the user, any number of items
model.formula(probabilities)                      # the ranking score, [rows]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from models.layers.attention import Attention
from pipeline.data.column_values import Locate
from pipeline.data.schema import SparseFeature
from pipeline.io.arrays import Float32Array
from pipeline.io.errors import UserError
from pipeline.scoring.columns import Decoder, Ids, column_types, row_text
from pipeline.scoring.encode import Encoder
from pipeline.scoring.formula import Formula
from pipeline.scoring.manifest import Manifest, check_files, load_manifest
from pipeline.scoring.program_folder import load_program
from pipeline.scoring.tables import MappedTable
from pipeline.scoring.tower import Form, Tower, available, load_attention, load_tower

ROWS = 1024
"""Rows that are scored at once: their activations stay in cache."""


@dataclass(frozen=True, slots=True)
class Input:
    """A column that the model reads."""

    name: str
    kind: Literal["id", "ids", "number", "weights"]
    group: Literal["user", "item", "context"]
    is_list: bool
    type: str | None
    """Arrow type; None for raw columns: ids are whole numbers or text, numbers any numbers."""


@dataclass(slots=True)
class ExportedModel:
    """A loaded model folder. Safe to use from several threads."""

    folder: Path
    manifest: Manifest
    digest: str
    """Digest of the whole model."""
    form: Form
    """The form of the tower in use."""
    tasks: tuple[str, ...]
    inputs: tuple[Input, ...]
    formula: Formula
    _encoder: Encoder | None
    _decoder: Decoder
    _tables: Mapping[str, MappedTable]
    _attention: Attention | None
    _tower: Tower
    _places: Mapping[str, slice]
    _width: int
    _averaged: frozenset[str] = field(default_factory=frozenset)

    @staticmethod
    def load(
        folder: str | Path,
        threads: int = 1,
        *,
        form: Form | None = None,
        verify: bool = True,
    ) -> ExportedModel:
        """Load a model folder and verify its files.

        Args:
            threads: number of calls of `score` at a time that do not wait for each other.
            form: form of the tower; None: the fastest that runs here.
            verify: read all files to check their digests.

        Raises:
            UserError: a file is missing, damaged or does not fit.
        """
        path = Path(folder)
        manifest, digest = load_manifest(path)
        if verify:
            check_files(path, manifest)
            if manifest.parity is None:
                raise UserError(f"{path}: was not compared with evaluation; export it again")
        dims = {table.name: table.dim for table in manifest.tables}
        of_feature = {feature.name: dims[feature.table] for feature in manifest.sparse}
        attention = load_attention(path, manifest)
        places, width = {}, 0
        for name in manifest.pooled:
            places[name] = slice(width, width + of_feature[name])
            width = places[name].stop
        width += attention.num_features if attention is not None else 0
        width += len(manifest.dense)
        forms = available(path, manifest, manifest.compiled_for)
        if form is not None and form not in forms:
            raise UserError(f"{path}: has no tower of form {form!r} for this machine; {forms}")
        chosen = form or forms[0]
        tasks = tuple(task.name for task in manifest.tasks)
        encoder = load_program(path) if manifest.has_program else None
        return ExportedModel(
            folder=path,
            manifest=manifest,
            digest=digest,
            form=chosen,
            tasks=tasks,
            inputs=_inputs(manifest, encoder),
            formula=Formula(manifest.formula, tasks),
            _encoder=encoder,
            _decoder=Decoder(manifest),
            _tables={one.name: MappedTable(path, one) for one in manifest.tables},
            _attention=attention,
            _tower=load_tower(path, manifest, chosen, width, threads),
            _places=places,
            _width=width,
            _averaged=frozenset(manifest.averaged),
        )

    def score(
        self,
        columns: pa.Table,
        unknown: Counter[str] | None = None,
        locate: Locate = row_text,
    ) -> Float32Array:
        """Return the probability of each task, [rows, tasks], in the order of the rows.

        Args:
            columns: the columns of `inputs`; others are ignored.
            unknown: the number of unknown ids of each feature is added to it.
            locate: names a row in messages.

        Raises:
            UserError: a column is missing, or naming row and column, a value is invalid.
        """
        prepared = columns if self._encoder is None else self.encode(columns, locate)
        return self.score_prepared(prepared, unknown, locate)

    def encode(self, columns: pa.Table, locate: Locate = row_text) -> pa.Table:
        """Encode raw columns as those of a prepared folder."""
        assert self._encoder is not None
        names = [name for name in self._encoder.columns if name in columns.column_names]
        frame = pl.DataFrame(pl.from_arrow(columns.select(names)))
        return self._encoder.encode(frame, locate=locate)

    @torch.inference_mode()
    def score_prepared(
        self,
        prepared: pa.Table,
        unknown: Counter[str] | None = None,
        locate: Locate = row_text,
    ) -> Float32Array:
        """As `score`, for columns of a prepared folder."""
        unknown = Counter() if unknown is None else unknown
        ids = {
            one.name: self._decoder.ids(prepared, one, unknown, locate)
            for one in self.manifest.sparse
        }
        dense_BN = self._decoder.numbers(prepared, locate)
        logits = [
            self._tower(self._input(part, dense_BN[start : start + ROWS]))
            for start, part in _parts(ids, len(prepared))
        ]
        found = torch.cat(logits).sigmoid() if logits else torch.empty(0, len(self.tasks))
        array: Float32Array = found.numpy()
        return array

    def unknown_ids(self, columns: pa.Table) -> dict[str, int]:
        """Return the number of ids outside the vocabulary of each feature."""
        prepared = columns if self._encoder is None else self.encode(columns)
        unknown: Counter[str] = Counter()
        for feature in self.manifest.sparse:
            self._decoder.ids(prepared, feature, unknown, row_text)
        return {feature.name: unknown[feature.name] for feature in self.manifest.sparse}

    def _input(self, ids: Mapping[str, Ids], dense_BN: Tensor) -> Tensor:
        """Look up and assemble the tower's input, [B, F]."""
        v_BF = torch.empty(len(dense_BN), self._width)
        v_BF[:, self._width - dense_BN.shape[1] :] = dense_BN
        pooled: dict[str, Tensor] = {}
        unpooled: dict[str, Tensor] = {}
        for feature in self.manifest.sparse:
            found = self._look_up(feature, ids[feature.name], unpooled)
            pooled[feature.name] = found
            if feature.name in self._places:
                v_BF[:, self._places[feature.name]] = self._averages(feature, ids, found)
        if self._attention is not None:
            lengths = {
                name: one.lengths_B for name, one in ids.items() if one.lengths_B is not None
            }
            start = max((place.stop for place in self._places.values()), default=0)
            v_BF[:, start : self._width - dense_BN.shape[1]] = self._attention(
                unpooled, lengths, pooled
            )
        return v_BF

    def _look_up(self, feature: SparseFeature, ids: Ids, unpooled: dict[str, Tensor]) -> Tensor:
        table = self._tables[feature.table]
        if ids.lengths_B is None:
            return table.rows(ids.values_L)
        if table.record.unpooled:
            unpooled[feature.name] = table.rows(ids.values_L)
        return table.bags(ids.values_L, ids.lengths_B, ids.weights_L)

    def _averages(self, feature: SparseFeature, ids: Mapping[str, Ids], sums_BD: Tensor) -> Tensor:
        lengths_B = ids[feature.name].lengths_B
        if feature.name not in self._averaged or lengths_B is None:
            return sums_BD
        return sums_BD * lengths_B.clamp(min=1).float().reciprocal()[:, None]


def _parts(ids: Mapping[str, Ids], rows: int) -> list[tuple[int, dict[str, Ids]]]:
    """Cut ids into parts of ROWS rows; also returns the first row of each."""
    sizes = [min(ROWS, rows - start) for start in range(0, rows, ROWS)]
    cut = {name: _cut(one, sizes) for name, one in ids.items()}
    return [
        (number * ROWS, {name: parts[number] for name, parts in cut.items()})
        for number in range(len(sizes))
    ]


def _cut(ids: Ids, sizes: list[int]) -> list[Ids]:
    if ids.lengths_B is None:
        return [Ids(part) for part in torch.split(ids.values_L, sizes)] if sizes else []
    lengths = torch.split(ids.lengths_B, sizes)
    counts = [int(part.sum()) for part in lengths]
    values = torch.split(ids.values_L, counts)
    weights = [None] * len(sizes) if ids.weights_L is None else torch.split(ids.weights_L, counts)
    return [Ids(*part) for part in zip(values, lengths, weights, strict=True)]


def _inputs(manifest: Manifest, encoder: Encoder | None) -> tuple[Input, ...]:
    if encoder is None:
        return _prepared_inputs(manifest)
    found: dict[str, Input] = {}
    for name, feature in encoder.features.items():
        for column in feature.columns(name):
            kind: Literal["id", "ids", "number", "weights"]
            kind = "ids" if feature.type == "weighted_ids" else feature.type
            if column == feature.weights:
                kind = "weights"
            is_list = kind in ("ids", "weights") and feature.separator is None
            found.setdefault(column, Input(column, kind, feature.group, is_list, None))
    return tuple(found.values())


def _prepared_inputs(manifest: Manifest) -> tuple[Input, ...]:
    types = column_types(manifest)
    found = []
    for one in manifest.sparse:
        kind: Literal["id", "ids"] = "ids" if one.multi else "id"
        found.append(Input(one.column, kind, one.group, one.multi, str(types[one.column])))
        if one.weights is not None:
            found.append(Input(one.weights, "weights", one.group, True, str(types[one.weights])))
    numbers = [Input(one.column, "number", "context", False, "float") for one in manifest.dense]
    return (*found, *numbers)
