"""Reads the files of a checkpoint without executing code from them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint._fsspec_filesystem import FileSystem, FsspecReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from pipeline.checkpoint.dcp_metadata import parse_metadata
from pipeline.checkpoint.manifest import CorruptError
from pipeline.io.storage import AnyPath

METADATA = ".metadata"


class CheckpointReader(FsspecReader):
    """DCP's reader with metadata that is parsed instead of unpickled. Raises CorruptError."""

    def __init__(self, folder: AnyPath) -> None:
        super().__init__(path_text(folder))
        self.fs = use_files_of(FileSystem(), folder)  # type: ignore[assignment]

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        if kwargs.get("rank") is not None:  # DCP looks for it if the common one is missing
            raise CorruptError(f"{METADATA} cannot be read")
        with self.fs.create_stream(self.fs.concat_path(self.path, METADATA), "rb") as stream:
            metadata = parse_metadata(stream)
        assert metadata.storage_meta is not None
        metadata.storage_meta.load_id = self.load_id
        return metadata

    def changed_rows(self, name: str, offset: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Return what has changed in a shard since it was saved: rows and their values; None if
        nothing has. Call `read_metadata` before."""
        return None

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        try:
            return super().read_data(plan, planner)
        except pickle.UnpicklingError as error:
            raise CorruptError("a tensor contains more than numbers") from error


def load_tensor(stream: io.BytesIO, name: str) -> Tensor:
    """Load a tensor. Raises CorruptError for anything else."""
    try:
        found = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CorruptError(f"{name} contains more than numbers") from error
    if not isinstance(found, Tensor):
        raise CorruptError(f"{name} is not a tensor")
    return found


def path_text(folder: AnyPath) -> str:
    """Return the path of a folder in DCP's format."""
    return str(folder.absolute()) if isinstance(folder, Path) else folder.path


def use_files_of(files: FileSystem, folder: AnyPath) -> FileSystem:
    """Use the folder's file system, because a path has no host and credentials."""
    files.init_path(path_text(folder))
    if not isinstance(folder, Path):
        files.fs = folder.fs
    return files
