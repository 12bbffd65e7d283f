"""A store that cannot rename, as s3:// is: `bucket://`, in this process's memory."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from upath.implementations.memory import MemoryPath
from upath.registry import register_implementation


class Bucket(MemoryFileSystem):
    """memory:// is refused as a place for checkpoints."""

    protocol = "bucket"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        stripped: str = super()._strip_protocol(str(path).removeprefix("bucket://"))
        return stripped


def open_bucket() -> None:
    """Make this process know the protocol."""
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    register_implementation("bucket", MemoryPath, clobber=True)
