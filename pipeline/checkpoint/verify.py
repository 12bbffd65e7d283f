"""Verifies checkpoints against their manifests; incremental ones together with their base."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pipeline.checkpoint.layout import step_folder, step_of
from pipeline.checkpoint.manifest import (
    NAME,
    CorruptError,
    FileDigest,
    check_digests,
    check_sizes,
    digest,
    files_of_rank,
    read_manifest,
)
from pipeline.checkpoint.reader import METADATA, CheckpointReader
from pipeline.io.storage import AnyPath
from pipeline.ranks.coordinate import gather_or_raise
from pipeline.ranks.world import World


def find_damage_on_ranks(folder: AnyPath, world: World) -> str | None:
    """Return the problem of a checkpoint, None if valid. Collective: each rank reads a part."""
    try:
        for place in gather_or_raise(world, lambda: chain(folder)):
            gather_or_raise(world, partial(_check, folder, place, world.rank, world.size))
    except CorruptError as found:
        return str(found)
    return None


def find_damage(folder: AnyPath, *, contents: bool = True) -> str | None:
    """As `find_damage_on_ranks`, but on this process alone.

    Without `contents` it checks names and sizes only.
    """
    try:
        for place in chain(folder):
            _check(folder, place, 0, 1, contents=contents)
    except CorruptError as found:
        return str(found)
    return None


def chain(folder: AnyPath) -> list[AnyPath]:
    """Return the folder of a checkpoint and, if it is incremental, that of its base.

    Raises CorruptError if the base is missing or was replaced.
    """
    manifest = read_manifest(folder)
    if step_of(folder.name) not in (None, manifest.step):
        raise CorruptError(f"it is the checkpoint of step {manifest.step} under another name")
    if manifest.base is None:
        return [folder]
    base = step_folder(folder.parent, manifest.base)
    try:
        same = digest(base / NAME).sha256 == manifest.base_manifest
    except OSError as error:
        raise CorruptError(f"its base, step {manifest.base}, is missing") from error
    if not same:
        raise CorruptError(f"step {manifest.base} is not its original base")
    return [folder, base]


def _check(
    folder: AnyPath, place: AnyPath, rank: int, world_size: int, *, contents: bool = True
) -> None:
    """Check the files of a rank in `place`, of the chain of `folder`. Raises CorruptError."""
    try:
        expected = check_sizes(place)
        if contents:
            names = files_of_rank(expected, rank, world_size)
            check_digests(place, expected, names)
            if METADATA in names:
                _check_metadata(place, expected)
    except CorruptError as found:
        if place == folder:
            raise
        raise CorruptError(f"its base, {place.name}: {found}") from found


def _check_metadata(folder: AnyPath, files: Mapping[str, FileDigest]) -> None:
    """Check that the metadata can be parsed and points into the files. Raises CorruptError."""
    for index, part in CheckpointReader(folder).read_metadata().storage_data.items():
        file = files.get(part.relative_path)
        if file is None or part.offset + part.length > file.bytes:
            raise CorruptError(f"{METADATA}: {index.fqn} is outside {part.relative_path}")
