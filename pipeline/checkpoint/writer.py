"""Writes the files of a checkpoint, hashes them while writing, and commits the checkpoint.

A save of torch.distributed.checkpoint (DCP) has these steps: every rank plans, rank 0 merges the
plans, every rank writes, rank 0 finishes. This writer hooks into them, so that a save needs no
communication besides DCP's, and DCP raises any error on all ranks.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint._fsspec_filesystem import FileSystem, FsspecWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from pipeline.checkpoint.manifest import FileDigest
from pipeline.checkpoint.reader import METADATA, path_text, use_files_of
from pipeline.io.storage import AnyPath


class CheckpointWriter(FsspecWriter):
    """Writes to `folder`; calls `begin()` and `commit(files)` on rank 0.

    `begin` is called before any rank writes, `commit` after all have written, with all files by
    name.
    """

    def __init__(
        self,
        folder: AnyPath,
        begin: Callable[[], None],
        commit: Callable[[dict[str, FileDigest]], None],
    ) -> None:
        # Object stores cannot sync; without a file descriptor DCP would sync all disks.
        super().__init__(path_text(folder), sync_files=isinstance(folder, Path))
        self._begin = begin
        self._commit = commit
        self._hashing = _Hashing()
        self.fs = use_files_of(self._hashing, folder)  # type: ignore[assignment]

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan  # rank 0 creates the folder after removing old files

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        self._begin()
        return super().prepare_global_plan(plans)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        self.fs.mkdir(self.path)
        results = super().write_data(plan, planner).value()
        future: Future[list[WriteResult]] = Future()
        future.set_result(_Written(results, self._hashing.written))
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        files: dict[str, FileDigest] = {}
        for of_rank in results:
            assert isinstance(of_rank, _Written)
            files |= of_rank.files
        super().finish(metadata, results)
        files[METADATA] = self._hashing.written[f"{METADATA}.tmp"]
        self._commit(files)


class _Written(list[WriteResult]):
    """A rank's results, which DCP sends to rank 0, with their files."""

    def __init__(self, results: list[WriteResult], files: dict[str, FileDigest]) -> None:
        super().__init__(results)
        self.files = files

    def __reduce__(self) -> tuple[Any, ...]:
        return _Written, (list(self), self.files)


class _Hashing(FileSystem):
    """DCP's fsspec file system; `written` records the size and checksum of each file."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, FileDigest] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        with super().create_stream(path, mode) as stream:
            if mode != "wb":
                yield stream
                return
            hashing = _HashingStream(stream)
            try:
                yield hashing
            except Exception as error:
                # On a full disk torch.save reports only that the file has the wrong length.
                if hashing.failure is not None and hashing.failure is not error:
                    raise hashing.failure from error
                raise
        name = os.fspath(path).rpartition("/")[2]
        self.written[name] = hashing.file


class _HashingStream(io.IOBase):
    """Forwards writes and computes their digest."""

    def __init__(self, stream: io.IOBase) -> None:
        self._stream = stream
        self._hashed = hashlib.sha256()
        self._bytes = 0
        self.failure: OSError | None = None
        """First error of a write."""

    @property
    def file(self) -> FileDigest:
        return FileDigest(self._bytes, self._hashed.hexdigest())

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._hashed.update(view)
        self._bytes += view.nbytes
        with self._remembering():
            count: int = self._stream.write(view)
        return count

    def tell(self) -> int:
        return self._bytes

    def flush(self) -> None:
        if not self._stream.closed:
            with self._remembering():
                self._stream.flush()

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            raise

    def fileno(self) -> int:
        self.flush()  # DCP calls this to sync, so flush Python's buffer first
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()
        super().close()
