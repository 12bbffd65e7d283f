"""A model folder as a model.

model = ExportedModel.load(Path("model"))
probabilities = model.score(table)                # float32 [rows, tasks], in row order
probabilities = model.score_request(user, items)  # one row of the user, any number of items
model.formula(probabilities)                      # the ranking score, [rows]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.data.column_values import Locate
from pipeline.io.arrays import Float32Array
from pipeline.io.errors import UserError
from pipeline.scoring.columns import Columns, Decoder, Ids, columns_of, row_text
from pipeline.scoring.encode import Encoder
from pipeline.scoring.formula import Formula
from pipeline.scoring.inputs import Input, prepared_inputs, raw_inputs
from pipeline.scoring.lookup import Lookup
from pipeline.scoring.manifest import Manifest, check_files, load_manifest
from pipeline.scoring.program_folder import load_program
from pipeline.scoring.tower import Form, Tower, available, load_tower

ROWS = 2048
"""Rows that are scored at once; more are not faster."""
VALUES = 1 << 18
"""List values of the rows that are scored at once: attention takes some kB for each."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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
    encoder: Encoder | None
    """Encodes raw columns; None: the model reads columns of a prepared folder."""
    decoder: Decoder
    lookup: Lookup
    tower: Tower

    @staticmethod
    def load(
        folder: str | Path, threads: int = 1, *, form: Form | None = None, verify: bool = True
    ) -> ExportedModel:
        """Load a model folder.

        Args:
            threads: number of calls of `score` at a time that do not wait for each other.
            form: form of the tower; None: the fastest that runs here.
            verify: check the digest of every file, and that the model was compared with
                evaluation.

        Raises:
            UserError: a file is missing, damaged or does not fit.
        """
        path = Path(folder)
        manifest, digest = load_manifest(path)
        if verify:
            check_files(path, manifest)
            if manifest.parity is None:
                raise UserError(f"{path}: was not compared with evaluation; export it again")
        forms = available(path, manifest, manifest.compiled_for)
        if form is not None and form not in forms:
            raise UserError(f"{path}: has no tower {form!r} for this machine; known: {forms}")
        chosen = form or forms[0]
        tasks = tuple(task.name for task in manifest.tasks)
        encoder = load_program(path) if manifest.has_program else None
        lookup = Lookup(path, manifest)
        return ExportedModel(
            folder=path,
            manifest=manifest,
            digest=digest,
            form=chosen,
            tasks=tasks,
            inputs=prepared_inputs(manifest) if encoder is None else raw_inputs(encoder),
            formula=Formula(manifest.formula, tasks),
            encoder=encoder,
            decoder=Decoder(manifest),
            lookup=lookup,
            tower=load_tower(path, manifest, chosen, lookup.width, threads),
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
        return self.score_prepared(self.encode(columns, locate), unknown, locate)

    def score_request(
        self,
        user: pa.Table,
        items: pa.Table,
        unknown: Counter[str] | None = None,
    ) -> Float32Array:
        """As `score`, of `items`, each with the columns of `user`, which has one row.

        Features of columns that only `user` has are encoded and looked up once.
        """
        if len(user) != 1:
            raise UserError(f"user: {len(user)} rows; give one row")
        unknown = Counter() if unknown is None else unknown
        request, rows = self._encode_request(user, items)
        return self._score(request, rows, unknown, row_text)

    def unknown_ids(self, columns: pa.Table) -> dict[str, int]:
        """Return the number of ids outside the vocabulary of each feature."""
        prepared, unknown = columns_of(self.encode(columns)), Counter[str]()
        for feature in self.manifest.sparse:
            self.decoder.ids(prepared, feature, unknown, row_text)
        return {feature.name: unknown[feature.name] for feature in self.manifest.sparse}

    def encode(self, columns: pa.Table, locate: Locate = row_text) -> pa.Table:
        """Return the columns of a prepared folder for raw columns."""
        if self.encoder is None:
            return columns
        return self.encoder.encode(self._frame(columns), locate=locate)

    def score_prepared(
        self,
        prepared: pa.Table,
        unknown: Counter[str] | None = None,
        locate: Locate = row_text,
    ) -> Float32Array:
        """As `score`, for columns of a prepared folder."""
        unknown = Counter() if unknown is None else unknown
        return self._score(None, prepared, unknown, locate)

    @torch.inference_mode()
    def _score(
        self, request: pa.Table | None, rows: pa.Table, unknown: Counter[str], locate: Locate
    ) -> Float32Array:
        """Score rows that have the columns of `request`, which has one row, too."""
        once = None if request is None else columns_of(request)
        columns = columns_of(rows)
        shared = {} if once is None else self.ids(once, unknown, lambda row: "user")
        own = self.ids(columns, unknown, locate, without=shared)
        self._check_events({**shared, **own}, locate)
        dense_BN = self.decoder.numbers(columns, len(rows), locate, once)
        embedded = self.lookup.embed(shared)
        logits = [
            self.tower(self.lookup.assemble(embedded, self.lookup.embed(part), dense))
            for part, dense in parts_of(own, dense_BN, self._values_of_all(shared))
        ]
        found = torch.cat(logits).sigmoid() if logits else torch.empty(0, len(self.tasks))
        array: Float32Array = found.numpy()
        return array

    def ids(
        self,
        columns: Columns,
        unknown: Counter[str],
        locate: Locate,
        without: Mapping[str, Ids] | None = None,
    ) -> dict[str, Ids]:
        """Return the ids of features: those in a request's columns, or all others."""
        return {
            one.name: self.decoder.ids(columns, one, unknown, locate)
            for one in self.manifest.sparse
            if (one.column in columns if without is None else one.name not in without)
        }

    def _values_of_all(self, shared: Mapping[str, Ids]) -> int:
        """Return the number of a request's values that attention weighs for every row."""
        histories = set(self.manifest.attention.histories) & shared.keys()
        lengths = [shared[name].lengths_B for name in histories]
        return sum(int(one.sum()) for one in lengths if one is not None)

    def _check_events(self, ids: Mapping[str, Ids], locate: Locate) -> None:
        """Check that histories of one kind of event have equal lengths, as in training."""
        for histories in self.manifest.attention.events.values():
            first, *others = histories
            for other in others:
                ours, theirs = ids[first].lengths_B, ids[other].lengths_B
                assert ours is not None
                assert theirs is not None
                wrong = (ours != theirs).nonzero()
                if len(wrong):
                    row = int(wrong[0])
                    has, wanted = (int(one[min(row, len(one) - 1)]) for one in (theirs, ours))
                    raise UserError(
                        f"{locate(row)}, feature {other!r}: has {has} values, but {first!r}, of "
                        f"the same events, has {wanted}; give both for every event"
                    )

    def _encode_request(self, user: pa.Table, items: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the prepared columns of the request, and those of its items."""
        own = set(items.column_names)
        if self.encoder is None:
            known = [name for name in user.column_names if name not in own]
            return user.select(known), items
        once = [
            name
            for name, feature in self.encoder.features.items()
            if own.isdisjoint(feature.columns(name))
        ]
        each = [name for name in self.encoder.features if name not in once]
        frame, rows = self._frame(user), self._frame(items)
        if not rows.columns:
            raise UserError("items: have no column of the model; give those that users do not have")
        shared = frame.select([name for name in frame.columns if name not in own])
        joined = rows.with_columns(one.new_from_index(0, len(rows)) for one in shared)
        request = self.encoder.encode(frame, once, lambda row: "user")
        return request, self.encoder.encode(joined, each)

    def _frame(self, columns: pa.Table) -> pl.DataFrame:
        assert self.encoder is not None
        names = [name for name in self.encoder.columns if name in columns.column_names]
        return pl.DataFrame(pl.from_arrow(columns.select(names)))


def parts_of(
    ids: Mapping[str, Ids], dense_BN: Tensor, of_all: int = 0
) -> Iterator[tuple[dict[str, Ids], Tensor]]:
    """Cut rows into parts of at most ROWS rows and, unless one row has more, VALUES list values.

    `of_all`: values that each row has besides its own.
    """
    values_B = torch.full((len(dense_BN),), of_all)
    for one in ids.values():
        if one.lengths_B is not None:
            values_B += one.lengths_B
    dense = torch.split(dense_BN, _sizes(values_B)) if len(dense_BN) else ()
    cut = {name: _cut(one, [len(part) for part in dense]) for name, one in ids.items()}
    for number, part in enumerate(dense):
        yield {name: parts[number] for name, parts in cut.items()}, part


def _sizes(values_B: Tensor) -> list[int]:
    """Return the number of rows of each part."""
    ends_B, sizes = values_B.cumsum(0), []
    start = before = 0
    while start < len(ends_B):
        fit = int(torch.searchsorted(ends_B, before + VALUES, right=True))
        stop = min(max(fit, start + 1), start + ROWS)
        sizes.append(stop - start)
        start, before = stop, int(ends_B[stop - 1])
    return sizes


def _cut(ids: Ids, sizes: list[int]) -> list[Ids]:
    if ids.lengths_B is None:
        return [Ids(part) for part in torch.split(ids.values_L, sizes)] if sizes else []
    lengths = torch.split(ids.lengths_B, sizes)
    counts = [int(part.sum()) for part in lengths]
    values = torch.split(ids.values_L, counts)
    weights = [None] * len(sizes) if ids.weights_L is None else torch.split(ids.weights_L, counts)
    return [Ids(*part) for part in zip(values, lengths, weights, strict=True)]
