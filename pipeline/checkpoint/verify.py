"""Whether a checkpoint is what was saved; one that adds to another is only as whole as that is."""

from __future__ import annotations

from functools import partial

from pipeline.checkpoint.layout import step_folder
from pipeline.checkpoint.manifest import (
    NAME,
    Damaged,
    check_digests,
    check_sizes,
    digest,
    files_of_rank,
    read_manifest,
)
from pipeline.io.storage import AnyPath
from pipeline.ranks.coordinate import gather_or_raise
from pipeline.ranks.world import World


def damage(folder: AnyPath, world: World) -> str | None:
    """What is wrong with a checkpoint, None if it is whole. Every rank reads its share of it."""
    try:
        for part in range(gather_or_raise(world, lambda: len(chain(folder)))):
            gather_or_raise(world, partial(_check, folder, part, world.rank, world.size))
    except Damaged as found:
        return str(found)
    return None


def problem(folder: AnyPath, *, contents: bool = True) -> str | None:
    """As `damage`, by this process alone; without `contents` names and sizes of files only."""
    try:
        for part in range(len(chain(folder))):
            _check(folder, part, 0, 1, contents=contents)
    except Damaged as found:
        return str(found)
    return None


def chain(folder: AnyPath) -> list[AnyPath]:
    """The checkpoint and, if it holds changed rows alone, the whole one that it adds them to.

    Raises Damaged if that is not there, or is another one of the same step.
    """
    manifest = read_manifest(folder)
    if manifest.base is None:
        return [folder]
    base = step_folder(folder.parent, manifest.base)
    try:
        same = digest(base / NAME).sha256 == manifest.base_manifest
    except OSError as error:
        raise Damaged(f"what it adds to, step {manifest.base}, is not there") from error
    if not same:
        raise Damaged(f"step {manifest.base} is not the one that it adds to")
    return [folder, base]


def _check(
    folder: AnyPath, part: int, rank: int, world_size: int, *, contents: bool = True
) -> None:
    """A rank's share of one part of the chain. Raises Damaged."""
    place = chain(folder)[part]
    try:
        expected = check_sizes(place)
        if contents:
            check_digests(place, expected, files_of_rank(expected, rank, world_size))
    except Damaged as found:
        if place == folder:
            raise
        raise Damaged(f"what it adds to, {place.name}: {found}") from found
