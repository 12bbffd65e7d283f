"""Reads the weights of a checkpoint, without a model: the dense half whole, tables by blocks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load

from pipeline.checkpoint.incremental import open_reader
from pipeline.checkpoint.load import cause
from pipeline.checkpoint.manifest import CorruptError
from pipeline.checkpoint.saved_table import SavedTable
from pipeline.checkpoint.verify import find_damage
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath

_MODEL = "model.model."
"""Before the names of a ranker's parameters in a checkpoint."""
BLOCK_ROWS = 1 << 16


class SavedModel:
    """The weights in a checkpoint, by the names of `Ranker`'s parameters."""

    def __init__(self, folder: AnyPath) -> None:
        """Raises UserError if the checkpoint is corrupt."""
        self.folder = folder
        if (problem := find_damage(folder)) is not None:
            raise UserError(f"{folder}: {problem}; give another checkpoint of the run")
        with _errors(folder):
            self.reader = open_reader(folder)
            self.metadata: Metadata = self.reader.read_metadata()
        self._found = {
            name.removeprefix(_MODEL): entry
            for name, entry in self.metadata.state_dict_metadata.items()
            if name.startswith(_MODEL) and isinstance(entry, TensorStorageMetadata)
        }

    def dense(self) -> dict[str, Tensor]:
        """Return the weights of the head: head.tower.*, head.ema.*, head.prior, ..."""
        return self._load([name for name in self._found if name.startswith("head.")])

    def table_size(self, table: str) -> tuple[int, int]:
        """Return rows and columns of a table."""
        rows, columns = self._found[self._table(table)].size
        return rows, columns

    def blocks(self, table: str) -> Iterator[Tensor]:
        """Yield the rows of a table in order, [up to BLOCK_ROWS, dim]."""
        with _errors(self.folder):
            saved = SavedTable(self.reader, self.metadata, _MODEL + self._table(table))
            yield from saved.blocks(BLOCK_ROWS)

    def rows(self, table: str, wanted: Tensor) -> Tensor:
        """Return the rows `wanted` (ascending) of a table, [n, dim]."""
        found, first = [], 0
        for block in self.blocks(table):
            low, high = torch.searchsorted(wanted, torch.tensor([first, first + len(block)]))
            found.append(block[wanted[low:high] - first])
            first += len(block)
        return torch.cat(found)

    def _table(self, table: str) -> str:
        for parent in ("embeddings.embedding_bags", "rows.embeddings"):
            if (name := f"{parent}.{table}.weight") in self._found:
                return name
        raise UserError(f"{self.folder}: has no table {table!r}; it is from another model")

    def _load(self, names: list[str]) -> dict[str, Tensor]:
        found = {
            name: torch.empty(
                self._found[name].size, dtype=self._found[name].properties.dtype, device="cpu"
            )
            for name in names
        }
        state: dict[str, Any] = {_MODEL + name: value for name, value in found.items()}
        with _errors(self.folder), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp_load(
                state,
                storage_reader=open_reader(self.folder),
                planner=DefaultLoadPlanner(),
                no_dist=True,
            )
        return found


@contextmanager
def _errors(folder: AnyPath) -> Iterator[None]:
    try:
        yield
    except (CheckpointException, CorruptError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder}: cannot be read: {cause(error)}; export another checkpoint of the run"
        ) from error
