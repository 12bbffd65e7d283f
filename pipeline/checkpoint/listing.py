"""Lists and describes the checkpoints of a folder, in one process, without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from pipeline.checkpoint.incremental import open_reader
from pipeline.checkpoint.layout import (
    best_step,
    find_folder,
    named_steps,
    retained_steps,
    step_folder,
    step_of,
)
from pipeline.checkpoint.manifest import CorruptError, Manifest, read_manifest
from pipeline.checkpoint.progress import read_progress
from pipeline.checkpoint.verify import find_damage
from pipeline.config.sections import CheckpointConfig
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.io.set_aside import where_instead
from pipeline.io.storage import AnyPath, open_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCheckpoint:
    """A valid or corrupt checkpoint of a folder."""

    step: int
    manifest: Manifest | None
    """None if the manifest is corrupt."""
    problem: str | None
    """The problem; None if valid."""

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"step": self.step, "problem": self.problem}
        if self.manifest is not None:
            manifest = self.manifest
            found |= {"epoch": manifest.epoch, "saved": manifest.saved, "base": manifest.base}
            found |= {"bytes": manifest.bytes, "world_size": manifest.world_size}
        return found


def open_checkpoints(where: str) -> AnyPath:
    """Return the checkpoint folder of a run, or of that folder. Raises UserError if it is empty."""
    path = open_folder(where)
    folder = find_folder(path)
    if not named_steps(folder):
        raise UserError(
            f"{folder}: no checkpoint here; give the folder of a run (runs/NAME)"
            f"{where_instead(path)}"
        )
    return folder


def list_checkpoints(folder: AnyPath, *, contents: bool) -> list[ListedCheckpoint]:
    """Return all checkpoints in `folder`, oldest first. `contents`: verify every byte."""
    places = (step_folder(folder, step) for step in named_steps(folder))
    return [list_checkpoint(place, contents=contents) for place in places]


def list_checkpoint(place: AnyPath, *, contents: bool) -> ListedCheckpoint:
    """The checkpoint in one folder, whose step its name says, or else its manifest (0: neither)."""
    manifest = None
    try:
        manifest = read_manifest(place)
        problem = find_damage(place, contents=contents)
    except CorruptError as error:
        problem = str(error)
    step = step_of(place.name)
    if step is None:
        step = manifest.step if manifest is not None else 0
    return ListedCheckpoint(step=step, manifest=manifest, problem=problem)


def retained(
    folder: AnyPath, found: Sequence[ListedCheckpoint], rules: CheckpointConfig
) -> dict[int, str]:
    """Return `retained_steps` of the valid checkpoints; corrupt ones do not count."""
    bases = {
        one.step: one.manifest.base
        for one in found
        if one.manifest is not None and one.problem is None
    }
    return retained_steps(bases, _best_of(folder, bases), rules)


def _best_of(folder: AnyPath, steps: Mapping[int, int | None]) -> int | None:
    """Return the best step; without best.json, or if it names another one, that of the newest."""
    best = best_step(folder)
    if best in steps or not steps:
        return best
    try:
        return read_progress(step_folder(folder, max(steps))).best_step
    except CorruptError:
        return None


def retention_rules(folder: AnyPath, found: Sequence[ListedCheckpoint]) -> CheckpointConfig:
    """Return the retention rules of the run that saved the newest valid checkpoint."""
    for one in reversed(found):
        if one.problem is None:
            return Config.load(step_folder(folder, one.step) / "config.json").checkpoint
    raise UserError(f"{folder}: no checkpoint here is valid; --overwrite starts the run over")


def contents(place: AnyPath) -> dict[str, Any]:
    """Return the contents of a checkpoint. Raises UserError if files are missing or corrupt."""
    try:
        if (found_problem := find_damage(place, contents=False)) is not None:
            raise CorruptError(found_problem)
        progress, manifest = read_progress(place), read_manifest(place)
        saved = open_reader(place).read_metadata().state_dict_metadata
    except CorruptError as error:
        raise UserError(f"{place}: {error}; give another checkpoint of the run") from error
    tensors = {
        name: {"shape": list(entry.size), "dtype": str(entry.properties.dtype).partition(".")[2]}
        for name, entry in sorted(saved.items())
        if isinstance(entry, TensorStorageMetadata)
    }
    return {
        "checkpoint": str(place),
        "progress": asdict(progress),
        "manifest": asdict(manifest),
        "tensors": tensors,
    }


@dataclass(slots=True)
class TensorSizes:
    """Some tensors of a checkpoint together."""

    number: int = 0
    elements: int = 0
    bytes: int = 0


def summarize_tensors(tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, TensorSizes]:
    """Sizes of the parts of a checkpoint, given the `tensors` of its `contents`."""
    found: dict[str, TensorSizes] = {}
    for name, entry in tensors.items():
        sizes = found.setdefault(_part(name), TensorSizes())
        elements = math.prod(entry["shape"])
        sizes.number += 1
        sizes.elements += elements
        sizes.bytes += elements * getattr(torch, entry["dtype"]).itemsize
    return found


def _part(name: str) -> str:
    parts = {
        "optimizer": "the tower's optimizer",
        "tables": "the tables' optimizer",
        "random": "random states",
        "window": "training metrics",
        "changed": "changed rows of tables",
    }
    first = name.replace("|", ".").partition(".")[0]
    if first == "model":
        return "tables" if ".embedding_bags." in name else "tower"
    return parts.get(first, first)
