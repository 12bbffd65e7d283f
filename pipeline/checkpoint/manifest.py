"""Manifest of a checkpoint: `manifest.json`, the last file that a save writes.

It lists every file with its bytes and SHA-256 and carries a digest of its own, so that a file that
is corrupt, cut short or gone is found out before anything is loaded. `sha256sum` gives the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.io.files import write_json
from pipeline.io.storage import AnyPath, file_sizes

NAME = "manifest.json"
META = "meta.json"
VERSION = 1

_SEAL = "sha256"
# Bytes read at once: hashing lets other threads run only above 2 kB, and disks like large reads.
_CHUNK_BYTES = 1 << 20


class CorruptError(Exception):
    """A corrupt or incomplete checkpoint; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and checksum of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A checkpoint as it was saved."""

    step: int
    epoch: int
    saved: float
    """When: seconds since 1970."""
    world_size: int
    files: dict[str, FileDigest]
    base: int | None = None
    """Step of the full checkpoint that this incremental one is based on; None: it is full."""
    base_manifest: str | None = None
    """SHA-256 of that one's manifest: another one of the same step will not do."""
    version: int = VERSION

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    def save(self, folder: AnyPath) -> None:
        write_sealed(folder / NAME, asdict(self))


def describe_text(text: str) -> FileDigest:
    """Size and checksum of a file with this text."""
    data = text.encode()
    return FileDigest(len(data), hashlib.sha256(data).hexdigest())


def digest(path: AnyPath) -> FileDigest:
    """Size and checksum of a file. Raises OSError."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
            size += len(chunk)
    return FileDigest(size, hashed.hexdigest())


def write_sealed(path: AnyPath, value: dict[str, Any]) -> None:
    """JSON that `read_sealed` finds out if a byte of it changes."""
    write_json(path, {**value, _SEAL: _seal(value)})


def read_sealed(path: AnyPath) -> dict[str, Any]:
    """What `write_sealed` wrote. CorruptError, naming the file, if it is anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        sealed = isinstance(value, dict) and value.pop(_SEAL, None) == _seal(value)
    except FileNotFoundError as error:
        raise CorruptError(f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise CorruptError(f"{path.name} cannot be read ({error})") from error
    if not sealed:
        raise CorruptError(f"{path.name} is corrupt: its text does not match the checksum in it")
    found: dict[str, Any] = value
    return found


def _seal(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: AnyPath) -> Manifest:
    """Raises CorruptError."""
    found = read_sealed(folder / NAME)
    if found.get("version") != VERSION:
        raise CorruptError(
            f"{NAME} is of version {found.get('version')}, this is version {VERSION}"
        )
    files = {name: FileDigest(**file) for name, file in found.pop("files").items()}
    return Manifest(**found, files=files)


def expected_files(folder: AnyPath) -> dict[str, FileDigest]:
    """Every file that must be there: those of the save, and those an evaluation added.

    Raises CorruptError.
    """
    later = read_sealed(folder / META).get("files", {})
    return read_manifest(folder).files | {name: FileDigest(**file) for name, file in later.items()}


def check_sizes(folder: AnyPath) -> dict[str, FileDigest]:
    """`expected_files`, all there and as long as they were. No file but the small ones is read.

    Raises CorruptError.
    """
    expected, present = expected_files(folder), file_sizes(folder)
    for name, file in expected.items():
        if name not in present:
            raise CorruptError(f"{name} is missing")
        if present[name] != file.bytes:
            raise CorruptError(f"{name} has {present[name]:,} bytes, {file.bytes:,} were written")
    return expected


def files_of_rank(expected: dict[str, FileDigest], rank: int, world_size: int) -> list[str]:
    """Names of the files that `rank` checks; the largest go first, to the least loaded rank."""
    load = [0] * world_size
    mine = []
    for name, file in sorted(expected.items(), key=lambda item: (-item[1].bytes, item[0])):
        lightest = load.index(min(load))
        load[lightest] += file.bytes
        if lightest == rank:
            mine.append(name)
    return mine


def check_digests(folder: AnyPath, expected: dict[str, FileDigest], names: Iterable[str]) -> None:
    """Verify the checksums of the named files. Raises CorruptError."""
    for name in names:
        try:
            found = digest(folder / name)
        except OSError as error:
            raise CorruptError(f"{name} cannot be read ({error.strerror or error})") from error
        if found != expected[name]:
            raise CorruptError(f"{name} is corrupt: its checksum is not that of what was written")
