"""Refuses Arrow bodies that are larger in memory than on the wire."""

from __future__ import annotations

import struct
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.serving.http.answers import HttpError, invalid

_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2
"""Types of a message's header (MessageHeader in Arrow's Message.fbs)."""
_EXPANDED_BYTES = 1 << 26
"""Largest text column that a dictionary may stand for."""
_LEAVES = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal128,
    pa.types.is_date,
    pa.types.is_string,
    pa.types.is_large_string,
)


def check_uncompressed(body: bytes) -> None:
    """Raise HttpError 400 if a message's buffers are compressed.

    A few bytes can be gigabytes then, which pyarrow allocates as it reads.
    """
    for message in pa.ipc.MessageReader.open_stream(body):
        if _is_compressed(message.metadata.to_pybytes()):
            raise HttpError(
                400, "compressed_arrow", "the Arrow stream is compressed; write it uncompressed"
            )


def _is_compressed(message: bytes) -> bool:
    """Whether a message, a flatbuffer of Message.fbs, has a batch with BodyCompression."""
    table = _offset(message, 0)
    kind, header = _field(message, table, 1), _field(message, table, 2)
    if kind is None or header is None:
        return False
    batch: int | None = _offset(message, header)
    if message[kind] == _DICTIONARY_BATCH:
        data = _field(message, _offset(message, header), 1)
        batch = None if data is None else _offset(message, data)
    elif message[kind] != _RECORD_BATCH:
        return False
    return batch is not None and _field(message, batch, 3) is not None


def _offset(buffer: bytes, at: int) -> int:
    """Follow the offset at a place."""
    return at + int(struct.unpack_from("<I", buffer, at)[0])


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Return where a table's field is; None if it has the default."""
    vtable = table - int(struct.unpack_from("<i", buffer, table)[0])
    (size,) = struct.unpack_from("<H", buffer, vtable)
    place = 4 + 2 * number
    if place >= size:
        return None
    (offset,) = struct.unpack_from("<H", buffer, vtable + place)
    return table + offset if offset else None


def plain(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column of values or lists of values, without a dictionary.

    Raises HttpError for other types, and for a dictionary that stands for too much text.
    """
    place = f"candidates.{name}"
    kind = column.type
    leaf = kind.value_type if _has_values(kind) else kind
    if not (pa.types.is_null(kind) or _is_time(leaf) or any(test(leaf) for test in _LEAVES)):
        raise invalid(f"{place}: columns of type {kind} are not read; send plain values", place)
    if not pa.types.is_dictionary(kind):
        return column
    if pa.types.is_string(leaf) or pa.types.is_large_string(leaf):
        lengths = (pc.max(pc.binary_length(c.dictionary)).as_py() or 0 for c in column.chunks)
        longest = max(lengths, default=0)
        if longest * len(column) > _EXPANDED_BYTES:
            raise HttpError(
                413,
                "body_too_large",
                f"{place}: {len(column):,} values of up to {longest:,} characters; send fewer",
                field=place,
            )
    return column.cast(leaf)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and (kind.tz is None or kind.tz in available_timezones())


def _has_values(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list or pa.types.is_dictionary(kind)
