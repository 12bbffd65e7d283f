"""Rows in a store: a key as text, the other columns as one MessagePack array.

STORE/KEY.mdb    an LMDB file: key -> row, and under an empty byte what the rows are
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

import lmdb
import msgspec

from pipeline.io.errors import UserError
from pipeline.scoring.inputs import Input
from pipeline.serving.rank.read_json import value_type

ABOUT = b"\x00"
LONGEST_KEY = 500
"""Bytes."""
_OPEN: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
"""Files that are mapped, by device and inode: LMDB opens a file once in a process."""


class About(msgspec.Struct, frozen=True):
    """What the rows of a file are."""

    key: str
    columns: list[str]
    kinds: list[str]
    """Kind of each column, and whether it is a list: 'id', 'ids list'."""
    rows: int


def store_file(folder: Path, key: str) -> Path:
    """Return the file of a key; its name may hold anything."""
    return folder / f"{quote(key, safe=' ')}.mdb"


def kind(one: Input) -> str:
    """Return how a column's values are stored."""
    return f"{one.type or one.kind}{' list' if one.is_list else ''}"


def key_bytes(value: Any) -> bytes:
    """Return a key as it is stored: whole numbers are text."""
    return str(value).encode()


def row_decoder(inputs: Sequence[Input]) -> msgspec.msgpack.Decoder[Any]:
    """Return a decoder of a list of rows, which checks the type of every value."""
    types: Any = tuple(value_type(one) for one in inputs)
    row: Any = tuple.__class_getitem__(types)
    return msgspec.msgpack.Decoder(list.__class_getitem__(row))


def joined(rows: Sequence[bytes]) -> bytes:
    """Return rows as one MessagePack array."""
    return b"\xdd" + len(rows).to_bytes(4, "big") + b"".join(rows)


def open_file(path: Path) -> tuple[Any, About]:
    """Map a file into memory, once for all models. Raises UserError if it is not of a store."""
    try:
        found = path.stat()
        environment = _OPEN.get((found.st_dev, found.st_ino)) or lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, max_spare_txns=64
        )
        _OPEN[found.st_dev, found.st_ino] = environment
        with environment.begin() as transaction:
            about = msgspec.json.decode(transaction.get(ABOUT) or b"", type=About)
    except (OSError, lmdb.Error, msgspec.DecodeError) as error:
        raise UserError(
            f"{path}: is no file of a feature store ({error}); load it again with 'homerec "
            "features load'"
        ) from error
    return environment, about
