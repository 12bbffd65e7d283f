"""Fills the columns that a request lacks, by its keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pipeline.io.errors import UserError
from pipeline.scoring.inputs import Input
from pipeline.serving.http.answers import HttpError
from pipeline.serving.rank.request import RankRequest, arrow_column, table
from pipeline.serving.store.rows import joined, key_bytes, kind, open_file, row_decoder

_MOST_BYTES = 1 << 26
"""Of the rows that a request gets from one file."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The rows of one key."""

    path: Path
    key: str
    inputs: tuple[Input, ...]
    rows: int
    environment: Any
    decoder: msgspec.msgpack.Decoder[Any]
    none: bytes
    """The row of a key that is not there."""

    def columns(self, keys: Sequence[Any], missing: Counter[str]) -> list[Sequence[Any]]:
        """Return a list per column, with None where a key is not there; those are counted.

        Raises HttpError 413 if the rows are too large together.
        """
        wanted = [*map(key_bytes, keys)]
        with self.environment.begin(buffers=False) as transaction:
            found = dict(transaction.cursor().getmulti([one for one in wanted if one]))
        rows = [found.get(one, self.none) for one in wanted]
        if (size := sum(map(len, rows))) > _MOST_BYTES:
            raise HttpError(
                413,
                "body_too_large",
                f"the store's rows of {len(rows):,} candidates have {size:,} bytes; send fewer",
                field=self.key,
            )
        if absent := sum(one not in found for one in wanted):
            missing[self.key] += absent
        return [*zip(*self.decoder.decode(joined(rows)), strict=True)]


class Store:
    """A folder of `homerec features load`, mapped into memory. Used from several threads."""

    def __init__(self, folder: Path, inputs: Mapping[str, Input]) -> None:
        """Raises UserError if a file is damaged, or was loaded for a model with other columns."""
        self.folder = folder
        if not folder.is_dir():
            raise UserError(f"--store {folder}: no such folder; 'homerec features load' writes one")
        self.files = [_open(path, inputs) for path in sorted(folder.glob("[!.]*.mdb"))]

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that rows are found by."""
        return tuple(file.key for file in self.files)

    def fill(self, request: RankRequest, missing: Counter[str]) -> RankRequest:
        """Return the request with the columns that it lacks; its own are left as they are."""
        shared = _columns(request.shared)
        items = _columns(request.items)
        for file in self.files:
            rows = items if file.key in items else shared if file.key in shared else None
            if rows is None:
                continue
            found = file.columns(rows[file.key].to_pylist(), missing)
            for one, values in zip(file.inputs, found, strict=False):
                if one.name not in shared and one.name not in items:
                    rows[one.name] = arrow_column(one.name, one, values, file.path.name)
        return replace(
            request,
            shared=table(shared, len(request.shared)),
            items=table(items, len(request.items)),
        )


def _columns(found: pa.Table) -> dict[str, Any]:
    return dict(zip(found.column_names, found.columns, strict=True))


def _open(path: Path, inputs: Mapping[str, Input]) -> KeyFile:
    environment, about = open_file(path)
    for name, stored in zip(about.columns, about.kinds, strict=True):
        if name not in inputs or kind(inputs[name]) != stored:
            raise UserError(
                f"{path}: column {name!r} is {stored!r}, which this model does not read so; load "
                "the store again for this model"
            )
    known = tuple(inputs[name] for name in about.columns)
    none = msgspec.msgpack.encode([None] * len(known))
    return KeyFile(path, about.key, known, about.rows, environment, row_decoder(known), none)
