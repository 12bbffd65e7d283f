"""Loads a table into a store: streamed, checked, and in its place when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import polars as pl
import pyarrow as pa

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import Chunk
from pipeline.data.sources.table import SourceTable, open_table
from pipeline.io.errors import UserError
from pipeline.scoring.inputs import Input
from pipeline.scoring.model import ExportedModel
from pipeline.serving.rank.samples import plain_column
from pipeline.serving.store.rows import (
    ABOUT,
    LONGEST_KEY,
    About,
    joined,
    key_bytes,
    kind,
    row_decoder,
    store_file,
)

_MAP_BYTES = 1 << 40
"""Addresses, not memory: a file is as large as its rows."""
Progress = Callable[[int, int], None]
"""Told the rows that are done, and all rows."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded."""

    path: Path
    rows: int
    """Keys in the store."""
    repeated: int
    """Rows whose key came again later; the last counts."""
    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    """Columns that the model does not read."""


def load_features(
    model_folder: Path,
    files: FilesConfig,
    key: str,
    out: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> Loaded:
    """Load the model's columns of a table into `out`, by the column `key`.

    The rows of this key that were there are replaced, all at once, when this is complete.

    Raises:
        UserError: a key is missing or too long, or a value has no meaning for the model (naming
            file, row and column). The store is as it was then.
    """
    model = ExportedModel.load(model_folder)
    table = open_table(files)
    table.require([key])
    inputs = {one.name: one for one in model.inputs if one.name in table.names and one.name != key}
    if not inputs:
        raise UserError(f"{table.files[0].name}: has no column of the model besides {key!r}")
    path = store_file(out, key)
    out.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        read = _write(partial_path, model, table, key, inputs, progress)
        rows = _finish(partial_path, key, list(inputs.values()))
        partial_path.replace(path)
    except lmdb.DiskError as error:
        raise UserError(f"{path}: {error}; free some space") from error
    finally:
        partial_path.unlink(missing_ok=True)
    known = {key, *inputs}
    ignored = tuple(name for name in table.names if name not in known)
    return Loaded(path, rows, read - rows, tuple(inputs), ignored)


def _open(path: Path) -> Any:
    return lmdb.open(str(path), subdir=False, lock=False, sync=False, map_size=_MAP_BYTES)


def _write(
    path: Path,
    model: ExportedModel,
    table: SourceTable,
    key: str,
    inputs: Mapping[str, Input],
    progress: Progress,
) -> int:
    """Write all rows; returns their number."""
    done, total = 0, sum(chunk.rows for chunk in table.chunks)
    decoder = row_decoder(list(inputs.values()))
    with _open(path) as environment:
        for chunk in table.chunks:
            read = table.read(chunk, [key, *inputs])
            locate = partial(table.locate, chunk)
            _check(model, read, locate)
            keys = _keys(read[key], key, table, chunk)
            columns = [plain_column(read[name]).to_pylist() for name in inputs]
            rows = [*map(msgspec.msgpack.encode, zip(*columns, strict=True))]
            try:
                decoder.decode(joined(rows))
            except msgspec.ValidationError as error:
                raise UserError(
                    f"{table.files[chunk.file].name}: {_place(error, inputs)}"
                ) from error
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti([*zip(keys, rows, strict=True)])
            done += len(read)
            progress(done, total)
    return done


def _finish(path: Path, key: str, inputs: Sequence[Input]) -> int:
    """Write what the rows are, and all to the disk; returns the number of keys."""
    with _open(path) as environment:
        rows: int = environment.stat()["entries"]
        about = About(key, [one.name for one in inputs], [kind(one) for one in inputs], rows)
        with environment.begin(write=True) as transaction:
            transaction.put(ABOUT, msgspec.json.encode(about))
        environment.sync(True)
    return rows


def _check(model: ExportedModel, read: pa.Table, locate: Callable[[int], str]) -> None:
    """Raise UserError for a value without meaning, in a feature of these columns alone."""
    if model.encoder is None:
        return
    have = set(read.column_names)
    names = [
        name
        for name, feature in model.encoder.features.items()
        if have.issuperset(feature.columns(name))
    ]
    model.encoder.encode(pl.DataFrame(pl.from_arrow(read)), names, locate)


def _keys(column: pa.ChunkedArray, key: str, table: SourceTable, chunk: Chunk) -> list[bytes]:
    values = column.to_pylist()
    if None in values:
        where = table.locate(chunk, values.index(None))
        raise UserError(f"{where}, column {key!r}: has no value; leave out rows without a key")
    found = [*map(key_bytes, values)]
    longest = max(found, key=len, default=b"")
    if len(longest) > LONGEST_KEY or b"" in found:
        row = found.index(longest if len(longest) > LONGEST_KEY else b"")
        raise UserError(
            f"{table.locate(chunk, row)}, column {key!r}: a key has 1 to {LONGEST_KEY} bytes, "
            f"this one {len(found[row])}"
        )
    return found


def _place(error: msgspec.ValidationError, inputs: Mapping[str, Input]) -> str:
    """Return the message of a value at `$[row][column]`, with the column's name."""
    what, _, where = str(error).partition(" - at `$")
    place = where.rstrip("`").strip("[]").split("][")
    names = list(inputs)
    column = names[int(place[1])] if len(place) > 1 and place[1].isdigit() else "?"
    return f"column {column!r}: {what}; convert the column"
