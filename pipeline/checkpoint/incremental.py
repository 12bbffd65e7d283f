"""Incremental checkpoints: the rows that differ from a full checkpoint, its base.

Each is based directly on a full checkpoint, so a corrupt one does not affect others. Changed rows
are found by comparing bits with the host copy from which the base was written: base and changed
rows restore the state bit for bit. Tensors that are not sharded are saved in full.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.futures import Future
from torchrec.distributed.types import ShardedTensor

from pipeline.checkpoint.layout import step_folder
from pipeline.checkpoint.manifest import read_manifest
from pipeline.checkpoint.reader import CheckpointReader, load_tensor
from pipeline.io.storage import AnyPath

_CHANGED = "changed"
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Rows compared at once; bounds the memory of the comparison.
_CHUNK_ROWS = 1 << 16


def changed_rows(state: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the difference of `state` to `base`, copied to the host.

    Both have the same nesting and sharding. For each changed shard: its changed rows, int64 [n],
    and their values, [n, ...].
    """
    now, _ = flatten_state_dict(state)
    before, _ = flatten_state_dict(base)
    found: dict[str, Any] = {}
    for name, value in now.items():
        if isinstance(value, ShardedTensor):
            pairs = zip(value.local_shards(), before[name].local_shards(), strict=True)
            for new, old in pairs:
                tensor = new.tensor.detach()
                if len(rows := differing_rows(tensor, old.tensor.detach())):
                    key = _key(name, new.metadata.shard_offsets)
                    found[f"{key}|rows"] = rows
                    found[f"{key}|values"] = tensor[rows.to(tensor.device)].cpu()
        elif isinstance(value, Tensor):
            found[name] = value.detach().to("cpu", copy=True)
        else:
            found[name] = deepcopy(value)
    return found


def differing_rows(new: Tensor, old: Tensor) -> Tensor:
    """Return the rows (of dimension 0) with differing bits, ascending int64 [n]; `old` is on the
    host."""
    bits = _BITS[new.element_size()]
    found = [torch.empty(0, dtype=torch.int64)]
    for first in range(0, len(new), _CHUNK_ROWS):
        now, before = (part[first : first + _CHUNK_ROWS] for part in (new, old))
        differ = now.cpu().view(bits) != before.view(bits)
        found.append(differ.flatten(1).any(1) if differ.dim() > 1 else differ)
        found[-1] = found[-1].nonzero().flatten() + first
    return torch.cat(found)


def open_reader(folder: AnyPath) -> CheckpointReader:
    """Return a reader for a full checkpoint, or for an incremental one with its base."""
    base = read_manifest(folder).base
    if base is None:
        return CheckpointReader(folder)
    return _Overlay(folder, step_folder(folder.parent, base))


class _Overlay(CheckpointReader):
    """Reads an incremental checkpoint on top of its base.

    Loading works as from a full checkpoint: any part of the base's shards can be read.
    """

    def __init__(self, folder: AnyPath, base: AnyPath) -> None:
        super().__init__(folder.parent)
        self._places = (base, folder)
        self._changes: dict[str, Any] = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        base, incremental = (
            CheckpointReader(place).read_metadata(*args, **kwargs) for place in self._places
        )
        for place, metadata in zip(self._places, (base, incremental), strict=True):
            metadata.storage_data = {
                index: replace(info, relative_path=f"{place.name}/{info.relative_path}")
                for index, info in metadata.storage_data.items()
            }
        self._changes = {
            index.fqn: info
            for index, info in incremental.storage_data.items()
            if _is_change(index.fqn)
        }
        names = {name for name in incremental.state_dict_metadata if not _is_change(name)}
        merged = replace(incremental)
        merged.state_dict_metadata = {
            **base.state_dict_metadata,
            **{name: incremental.state_dict_metadata[name] for name in names},
        }
        merged.storage_data = {
            **{index: info for index, info in base.storage_data.items() if index.fqn not in names},
            **{
                index: info
                for index, info in incremental.storage_data.items()
                if index.fqn in names
            },
        }
        return merged

    def changed_rows(self, name: str, offset: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        key = _key(name, offset)
        if f"{key}|rows" not in self._changes:
            return None
        return self._tensor(f"{key}|rows"), self._tensor(f"{key}|values")

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        done = super().read_data(plan, planner)
        for item in plan.items:
            index = item.storage_index
            key = _key(index.fqn, index.offset or ())
            if f"{key}|rows" in self._changes:
                self._lay_over(item, key, planner)
        return done

    def _lay_over(self, item: ReadItem, key: str, planner: LoadPlanner) -> None:
        """Overwrite the part that `item` reads with the changed rows of a shard."""
        rows, values = self._tensor(f"{key}|rows"), self._tensor(f"{key}|values")
        first, *other_firsts = item.storage_offsets
        count, *other_counts = item.lengths
        inside = (rows >= first) & (rows < first + count)
        values = values[inside]
        for dim, (start, length) in enumerate(zip(other_firsts, other_counts, strict=True), 1):
            values = values.narrow(dim, start, length)
        target = planner.resolve_tensor(item).detach()
        target[(rows[inside] - first).to(target.device)] = values.to(target)
        planner.commit_tensor(item, target)

    def _tensor(self, name: str) -> Tensor:
        info = self._changes[name]
        path = self.fs.concat_path(self.path, info.relative_path)
        with self.fs.create_stream(path, "rb") as stream:
            data = io.BytesIO(self._slice_file(stream, info).read(info.length))
        return load_tensor(data, name)


def _key(name: str, offsets: Sequence[int]) -> str:
    return f"{_CHANGED}|{name}|{'_'.join(map(str, offsets))}"


def _is_change(name: str) -> bool:
    return name.startswith(f"{_CHANGED}|")
