"""Reads DCP's `.metadata` without executing code from it.

The file is a pickle, and unpickling calls any function named in the file. Here each allowed class
is replaced by a plain record, and nothing else is allowed. Records are validated before they are
converted to DCP's objects.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any, ClassVar

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from pipeline.checkpoint.manifest import CorruptError

_METADATA = "torch.distributed.checkpoint.metadata"
_NAMED = {
    (_METADATA, "Metadata"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "StorageMeta"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
}


def parse_metadata(stream: io.IOBase) -> Metadata:
    """Return the metadata of a checkpoint, without `planner_data`, which loading does not use.

    Raises CorruptError if DCP cannot have written the file for one of our checkpoints.
    """
    try:
        return _metadata(_Unpickler(io.BytesIO(stream.read())).load())
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        message = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise CorruptError(f".metadata is not DCP's metadata ({message})") from error


class _Record:
    """Record of an object in the pickle: arguments of its constructor, and its state."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle._Unpickler):  # in Python, because C's hashes any key
    """Creates records, sizes and dtypes.

    Keys are text or records. The hash of a tuple visits everything in it: a few bytes can make it
    take forever, or exceed the stack and kill the process.
    """

    stack: list[Any]  # of the base class: what came after the last mark

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        # A pickle can set attributes of classes it names, so these are classes of this file only.
        self._records = {names: type(names[1], (_Record,), {}) for names in _NAMED}

    def find_class(self, module: str, name: str) -> Any:
        if (found := self._records.get((module, name))) is not None:
            return found
        if module == "torch":
            known = getattr(torch, name, None)
            if known is torch.Size or isinstance(known, torch.dtype):
                return known
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint contains")

    def _check_keys(self, op: int, items: list[Any]) -> None:
        for key in items[::2]:
            if type(key) is not str and not isinstance(key, _Record):
                raise pickle.UnpicklingError(f"a key is a {type(key).__name__}")
        load: Any = pickle._Unpickler.dispatch[op]
        load(self)

    def _reject_set(self) -> None:
        raise pickle.UnpicklingError("it contains a set")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: lambda self: self._check_keys(pickle.SETITEM[0], self.stack[-2:]),
        pickle.SETITEMS[0]: lambda self: self._check_keys(pickle.SETITEMS[0], self.stack),
        pickle.DICT[0]: lambda self: self._check_keys(pickle.DICT[0], self.stack),
        pickle.FROZENSET[0]: _reject_set,
        pickle.ADDITEMS[0]: _reject_set,
    }


def _metadata(record: Any) -> Metadata:
    fields = _fields(record, "Metadata")
    entries = {_text(name): _entry(one) for name, one in _dict(fields["state_dict_metadata"])}
    stored = {_index(index): _storage(info) for index, info in _dict(fields["storage_data"])}
    for name, entry in entries.items():
        _check_stored(name, entry, stored)
    version = fields.get("version")
    return Metadata(
        state_dict_metadata={**entries},
        storage_data=stored,
        storage_meta=StorageMeta(),
        version=None if version is None else _text(version),
    )


def _entry(record: Any) -> TensorStorageMetadata:
    fields = _fields(record, "TensorStorageMetadata")
    dtype, *_ = _state(fields["properties"], "TensorProperties", tuple)
    size = _size(fields["size"])
    chunks = [_chunk(one, size) for one in _typed(fields["chunks"], list)]
    properties = TensorProperties(dtype=_typed(dtype, torch.dtype))
    return TensorStorageMetadata(properties=properties, size=size, chunks=chunks)


def _chunk(record: Any, whole: torch.Size) -> ChunkStorageMetadata:
    fields = _fields(record, "ChunkStorageMetadata")
    offsets, sizes = _size(fields["offsets"]), _size(fields["sizes"])
    ends = [first + count for first, count in zip(offsets, sizes, strict=True)]
    if any(end > limit for end, limit in zip(ends, whole, strict=True)):
        raise ValueError(f"a chunk ends at {ends} in a tensor of {list(whole)}")
    return ChunkStorageMetadata(offsets=offsets, sizes=sizes)


def _index(record: Any) -> MetadataIndex:
    fields = _fields(record, "MetadataIndex")
    offset, index = fields.get("offset"), fields.get("index")
    return MetadataIndex(
        _text(fields["fqn"]),
        None if offset is None else _size(offset),
        None if index is None else _natural(index),
    )


def _storage(record: Any) -> _StorageInfo:
    fields = _fields(record, "_StorageInfo")
    name = _text(fields["relative_path"])
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not a file of the checkpoint")
    if fields.get("transform_descriptors") is not None:
        raise ValueError("its files are transformed")
    return _StorageInfo(name, _natural(fields["offset"]), _natural(fields["length"]))


def _check_stored(
    name: str, entry: TensorStorageMetadata, stored: dict[MetadataIndex, _StorageInfo]
) -> None:
    """Check that a file has all of a tensor: what is missing would keep its initial values."""
    for chunk in entry.chunks:
        place = stored.get(MetadataIndex(name, chunk.offsets))
        size = math.prod(chunk.sizes) * entry.properties.dtype.itemsize
        if place is None or place.length < size:
            raise ValueError(f"{name} is not stored whole")
    if sum(math.prod(chunk.sizes) for chunk in entry.chunks) != math.prod(entry.size):
        raise ValueError(f"the chunks of {name} are not all of it")


def _fields(record: Any, name: str) -> dict[str, Any]:
    return _state(record, name, dict)


def _state(record: Any, name: str, kind: type) -> Any:
    if not isinstance(record, _Record) or type(record).__name__ != name:
        raise TypeError(f"{type(record).__name__}, expected {name}")
    return _typed(record.state, kind)


def _dict(value: Any) -> list[tuple[Any, Any]]:
    return list(_typed(value, dict).items())


def _text(value: Any) -> str:
    return _typed(value, str)


def _size(value: Any) -> torch.Size:
    if any(part < 0 for part in _typed(value, torch.Size)):
        raise ValueError(f"a negative size: {list(value)}")
    return value


def _natural(value: Any) -> int:
    if _typed(value, int) < 0:
        raise ValueError(f"{value}, expected a number of at least 0")
    return value


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__}, expected {kind.__name__}")
    return value
