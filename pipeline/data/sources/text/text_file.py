"""The bytes of a text file, decompressed if need be, in sequence and in ranges."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import pyarrow as pa

from pipeline.data.sources.files import SourceFile, first_line
from pipeline.io.errors import UserError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_MAGIC = {
    ".gz": rb"\x1f\x8b\x08",
    ".zst": rb"\x28\xb5\x2f\xfd",
    ".bz2": rb"BZh[1-9]1AY&SY",
}
"""First bytes of compressed files, as regular expressions."""
_KEPT_BYTES = 64 * 2**20
_STEP = 4 * 2**20


class TextFile:
    """Ranges of a compressed file are read by a single decompressor, kept open.

    A pass over the ranges in order decompresses the file once, also by several threads a few
    ranges apart: what lies between two ranges is kept, up to 64 MB. A jump backward by more
    decompresses the file from its start.
    """

    def __init__(self, file: SourceFile) -> None:
        self.name = file.name
        self._file = file
        name = file.name.lower()
        endings = (codec for ending, codec in COMPRESSIONS.items() if name.endswith(ending))
        self._codec = next(endings, None)
        self._lock = Lock()
        self._stream: pa.NativeFile | None = None
        self._open = ExitStack()
        self._position = 0
        self._kept: deque[tuple[int, bytes]] = deque()

    def blocks(self, start: int, size: int) -> Iterator[bytes]:
        """Return the bytes from `start` on, in blocks of `size` bytes. Raises UserError."""
        with self._readable(), ExitStack() as opened:
            stream = self._opened(opened)
            if self._codec:
                while start > 0:
                    start -= len(stream.read(min(start, _STEP))) or start
            else:
                stream.seek(start)
            while block := stream.read(size):
                if start == 0 and not self._codec:
                    self._check_plain(block)
                start += len(block)
                yield block

    def _check_plain(self, data: bytes) -> None:
        for ending, magic in _MAGIC.items():
            if re.match(magic, data):
                raise UserError(
                    f"{self.name}: is compressed with {COMPRESSIONS[ending]}; end its name in "
                    f"{ending}"
                )

    def read(self, start: int, size: int) -> bytes:
        """Return a range of bytes. Raises UserError if the file ends before."""
        with self._readable():
            if self._codec is None:
                with self._file.open() as stream:
                    stream.seek(start)
                    data: bytes = stream.read(size)
            else:
                with self._lock:
                    data = self._read_compressed(start, size)
        if len(data) < size:
            raise UserError(
                f"{self.name}: ends at byte {start + len(data)}, but was longer before; "
                "do not change files while they are read"
            )
        return data

    def _read_compressed(self, start: int, size: int) -> bytes:
        for first, data in self._kept:
            if first <= start and start + size <= first + len(data):
                return data[start - first : start - first + size]
        if self._stream is None or start < self._position:
            self._open.close()
            self._kept.clear()
            self._stream = self._opened(self._open)
            self._position = 0
        while self._position < start:
            data = self._stream.read(min(start - self._position, _KEPT_BYTES))
            if not data:
                return b""
            self._kept.append((self._position, data))
            self._position += len(data)
            while sum(len(kept) for _, kept in self._kept) > _KEPT_BYTES:
                self._kept.popleft()
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def _opened(self, stack: ExitStack) -> pa.NativeFile:
        stream = stack.enter_context(self._file.open())
        if self._codec and self._file.size:
            return stack.enter_context(pa.CompressedInputStream(stream, self._codec))
        return stream

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            what = f"damaged or incomplete {self._codec} file" if self._codec else "cannot be read"
            raise UserError(
                f"{self.name}: {what} ({first_line(error)}); write or download it again"
            ) from error
