"""Reads the rows of a saved table block by block, in bounded memory, whatever its sharding was.

DCP reads a shard as a whole. A shard is a file of torch.save, a zip archive that stores numbers
uncompressed in one piece, so any of its rows can be read alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from pipeline.checkpoint.manifest import CorruptError
from pipeline.checkpoint.reader import CheckpointReader

_HEADER = 30
"""Bytes of a zip entry's header before its name."""


class SavedTable:
    """A tensor [rows, columns] of a checkpoint, saved as shards."""

    def __init__(self, reader: CheckpointReader, metadata: Metadata, name: str) -> None:
        """`metadata`: what `reader` read. Raises CorruptError if a shard has no file."""
        entry = metadata.state_dict_metadata[name]
        assert isinstance(entry, TensorStorageMetadata)
        self.rows, self.columns = entry.size
        self._dtype = entry.properties.dtype
        stored = {
            tuple(index.offset or (0, 0)): info
            for index, info in metadata.storage_data.items()
            if index.fqn == name
        }
        self._shards = []
        for chunk in entry.chunks:
            if not prod(chunk.sizes):
                continue
            first = (chunk.offsets[0], chunk.offsets[1])
            if first not in stored:
                raise CorruptError(f"{name} has no shard at {first}")
            changes = reader.changed_rows(name, first)
            size = (chunk.sizes[0], chunk.sizes[1])
            self._shards.append(_Shard(reader, stored[first], first, size, changes))

    def blocks(self, num_rows: int) -> Iterator[Tensor]:
        """Yield all rows in order, up to `num_rows` at a time, [n, columns].

        Raises CorruptError if a file is not as it was saved.
        """
        for first in range(0, self.rows, num_rows):
            rows = range(first, min(first + num_rows, self.rows))
            block = torch.empty(len(rows), self.columns, dtype=self._dtype, device="cpu")
            for shard in self._shards:
                shard.copy_to(block, rows)
            yield block


class _Shard:
    """Rows and columns of a table, in a file."""

    def __init__(
        self,
        reader: CheckpointReader,
        info: _StorageInfo,
        first: tuple[int, int],
        size: tuple[int, int],
        changes: tuple[Tensor, Tensor] | None,
    ) -> None:
        self._fs = reader.fs
        self._path = reader.fs.concat_path(reader.path, info.relative_path)
        self._info = info
        self._start: int | None = None
        self._rows = range(first[0], first[0] + size[0])
        self._columns = slice(first[1], first[1] + size[1])
        self._changes = changes

    def copy_to(self, block: Tensor, rows: range) -> None:
        """Copy the shard's part of `rows` to `block`, whose first row is rows.start."""
        found = range(max(rows.start, self._rows.start), min(rows.stop, self._rows.stop))
        if not found:
            return
        target = block[found.start - rows.start : found.stop - rows.start, self._columns]
        target.copy_(self._read(found.start - self._rows.start, target))
        if self._changes is None:
            return
        changed, values = self._changes  # ascending
        bounds = [found.start - self._rows.start, found.stop - self._rows.start]
        low, high = np.searchsorted(changed.numpy(), bounds).tolist()
        target[changed[low:high] - bounds[0]] = values[low:high].to(target.dtype)

    def _read(self, first: int, like: Tensor) -> Tensor:
        """Return rows from `first` on, of the shape of `like`."""
        width = like.shape[1] * like.element_size()
        with self._fs.create_stream(self._path, "rb") as stream:
            if self._start is None:
                total = len(self._rows) * width
                self._start = _numbers_start(stream, self._info, total)
            stream.seek(self._start + first * width)
            data = bytearray(stream.read(len(like) * width))
        if len(data) != len(like) * width:
            raise CorruptError(f"{self._info.relative_path} is cut off")
        return torch.frombuffer(data, dtype=like.dtype).view(like.shape)


def _numbers_start(stream: io.IOBase, info: _StorageInfo, total: int) -> int:
    """Return where the numbers of a saved tensor start, which have `total` bytes."""
    name = info.relative_path
    try:
        with zipfile.ZipFile(_Section(stream, info.offset, info.length)) as archive:
            (entry,) = [one for one in archive.infolist() if one.filename.endswith("/data/0")]
    except (zipfile.BadZipFile, ValueError) as error:
        raise CorruptError(f"{name} does not contain a tensor where its metadata say") from error
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != total:
        raise CorruptError(f"{name} has {entry.file_size:,} bytes of a shard, expected {total:,}")
    stream.seek(info.offset + entry.header_offset)
    header = stream.read(_HEADER)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.offset + entry.header_offset + _HEADER + lengths


class _Section(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, stream: io.IOBase, offset: int, length: int) -> None:
        self._stream, self._offset, self._length = stream, offset, length
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._length - self._at))
        self._stream.seek(self._offset + self._at)
        data = self._stream.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
