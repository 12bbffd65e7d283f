"""The difference between two model folders: changed table rows, and other changed files whole.

A zip file, without compression:

increment.json    what it builds on, SHA-256 of each entry, and a seal over its own text
manifest.json     that of the model it leads to
tables/N.rows     changed rows of a table, int64
tables/N.values   their bytes, in the table's format
files/PATH        other files that differ
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from embeddings.frozen import Frozen
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.io.storage import sync_folder
from pipeline.io.typed_json import Count
from pipeline.scoring.manifest import (
    NAME,
    Manifest,
    TableRecord,
    check_files,
    load_manifest,
    seal_of,
)
from pipeline.scoring.tables import row_bytes

_HEAD = "increment.json"
_BLOCK_BYTES = 1 << 24
"""Bytes of a table that are compared at once."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError)
"""What a damaged zip file raises. NotImplementedError is a RuntimeError."""


class Increment(Frozen):
    """Content of increment.json."""

    version: int = Field(default=1, ge=1, le=1)
    number: Count
    base: str
    """Digest of the model that it builds on, number - 1."""
    digest: str
    """Digest of the model that it leads to."""
    changed_rows: Mapping[str, Count]
    """By table, those with changed rows."""
    entries: Mapping[str, str]
    """SHA-256 of each entry of the file but this."""


class RefusedError(UserError):
    """An increment cannot be applied; `reason` is damaged, foreign, stale or gap."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def write_increment(old: Path, new: Path, out: Path, number: int) -> Increment:
    """Write the increment that leads from model folder `old` to `new`.

    Returns its description. Raises UserError if a folder is no model.
    """
    before, base = load_manifest(old)
    after, digest = load_manifest(new)
    same = {table.file: table for table in after.tables if table in before.tables}
    entries: dict[str, str] = {}
    changed: dict[str, int] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, data: Any) -> None:
            archive.writestr(zipfile.ZipInfo(name), data)
            entries[name] = hashlib.sha256(data).hexdigest()

        for path, record in after.files.items():
            if before.files.get(path) == record:
                continue
            if path in same:
                rows, values = _changed_rows(old / path, new / path, same[path])
                place = after.tables.index(same[path])
                put(f"tables/{place}.rows", rows.tobytes())
                put(f"tables/{place}.values", values.tobytes())
                changed[same[path].name] = len(rows)
            else:
                put(f"files/{path}", (new / path).read_bytes())
        put(NAME, (new / NAME).read_bytes())
        found = Increment(
            number=number,
            base=base,
            digest=digest,
            changed_rows=changed,
            entries=entries,
        )
        value = found.model_dump(mode="json")
        archive.writestr(
            zipfile.ZipInfo(_HEAD), json.dumps({**value, "sha256": seal_of(value)}, sort_keys=True)
        )
    return found


def read_head(path: Path) -> Increment:
    """Return what an increment is. Raises RefusedError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            value = json.loads(archive.read(_HEAD))
        seal = value.pop("sha256")
        if seal != seal_of(value):
            raise RefusedError("damaged", f"{path}: {_HEAD} does not match its checksum")
        return Increment.model_validate(value)
    except RefusedError:
        raise
    except (*_DAMAGED, AttributeError) as error:
        raise _damaged(path, error) from error


def apply_increment(old: Path, increment: Path, to: Path, *, verify: bool = False) -> Increment:
    """Write model folder `to`: that of `old` with an increment applied. `old` does not change.

    Files that are equal in both are links to one file; `to` appears when it is complete.

    Args:
        verify: also compare all files with the checksums in the manifest.

    Raises:
        RefusedError: the increment is damaged, or builds on another model. Nothing is left then.
    """
    head = read_head(increment)
    before, base = load_manifest(old)
    if head.base != base:
        raise RefusedError(
            "foreign",
            f"{increment}: builds on model {head.base[:12]}, {old} is model {base[:12]}",
        )
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as name:
        partial = Path(name) / "model"
        partial.mkdir()
        try:
            with zipfile.ZipFile(increment) as archive:
                _apply(old, before, archive, head, partial)
        except _DAMAGED as error:
            raise _damaged(increment, error) from error
        after, digest = load_manifest(partial)
        if digest != head.digest:
            raise RefusedError("damaged", f"{increment}: leads to another model than it says")
        if verify:
            check_files(partial, after)
        sync_folder(partial)
        partial.rename(to)
    return head


def _apply(
    old: Path, before: Manifest, archive: zipfile.ZipFile, head: Increment, partial: Path
) -> None:
    def entry(name: str) -> bytes:
        data = archive.read(name)
        if hashlib.sha256(data).hexdigest() != head.entries[name]:
            raise ValueError(f"{name} does not match its checksum")
        return data

    (partial / NAME).write_bytes(entry(NAME))
    after, _ = load_manifest(partial)
    places = {table.file: place for place, table in enumerate(after.tables)}
    for path in after.files:
        target = partial / path
        if not target.resolve().is_relative_to(partial.resolve()):
            raise ValueError(f"{path} is outside of the model folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        place = places.get(path)
        if f"files/{path}" in head.entries:
            target.write_bytes(entry(f"files/{path}"))
        elif place is not None and f"tables/{place}.rows" in head.entries:
            shutil.copyfile(old / path, target)
            rows = np.frombuffer(entry(f"tables/{place}.rows"), np.int64)
            _patch(target, after.tables[place], rows, entry(f"tables/{place}.values"))
        elif before.files.get(path) == after.files[path]:
            _link(old / path, target)
        else:
            raise ValueError(f"no {path}")


def _patch(path: Path, table: TableRecord, rows: IntArray, data: bytes) -> None:
    width = row_bytes(table.type, table.dim)
    values = np.frombuffer(data, np.uint8).reshape(-1, width)
    if len(values) != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < table.rows):
        raise ValueError(f"rows of {table.name} do not fit")
    if len(rows):
        mapped = np.memmap(path, np.uint8, mode="r+", shape=(table.rows, width))
        mapped[rows] = values
        mapped.flush()


def _changed_rows(
    old: Path, new: Path, table: TableRecord
) -> tuple[IntArray, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the rows whose bytes differ, ascending, and their bytes in `new`."""
    width = row_bytes(table.type, table.dim)
    shape = table.rows, width
    before, after = (np.memmap(path, np.uint8, mode="r", shape=shape) for path in (old, new))
    block = max(1, _BLOCK_BYTES // width)
    found = [np.empty(0, np.int64)]
    for first in range(0, table.rows, block):
        part = slice(first, first + block)
        differ = (before[part] != after[part]).any(axis=1)
        found.append(np.flatnonzero(differ) + first)
    rows = np.concatenate(found)
    return rows, after[rows]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _damaged(path: Path, error: Exception) -> RefusedError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RefusedError("damaged", f"{path}: damaged: {text}")
