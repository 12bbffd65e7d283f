"""Manifest of a checkpoint: `manifest.json`, the last file that a save writes.

It lists the size and SHA-256 of every file and has its own digest, so that corrupt, truncated or
missing files are detected before loading. Digests equal those of `sha256sum`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from embeddings.strict_json import parse_json
from pipeline.checkpoint.file_types import LaterFiles, ManifestFile
from pipeline.io.files import check_no_other, write_json
from pipeline.io.storage import AnyPath, file_sizes
from pipeline.io.typed_json import check_typed

NAME = "manifest.json"
META = "meta.json"
VERSION = 1

_SEAL = "sha256"
# Bytes read at once: hashing releases the GIL only above 2 kB, and large reads are faster.
_CHUNK_BYTES = 1 << 20


class CorruptError(Exception):
    """A corrupt or incomplete checkpoint; the message names the file and the problem."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and checksum of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Contents of a saved checkpoint."""

    step: int
    epoch: int
    saved: float
    """Time of the save, seconds since 1970."""
    world_size: int
    files: dict[str, FileDigest]
    base: int | None = None
    """Step of the full checkpoint that this incremental one is based on; None: it is full."""
    base_manifest: str | None = None
    """SHA-256 of the base's manifest, to reject another checkpoint of the same step."""
    version: int = VERSION

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    def save(self, folder: AnyPath) -> None:
        write_sealed(folder / NAME, asdict(self))


def describe_text(text: str) -> FileDigest:
    """Return size and checksum of a file with this text."""
    data = text.encode()
    return FileDigest(len(data), hashlib.sha256(data).hexdigest())


def digest(path: AnyPath) -> FileDigest:
    """Return size and checksum of a file. Raises OSError."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
            size += len(chunk)
    return FileDigest(size, hashed.hexdigest())


def write_sealed(path: AnyPath, value: dict[str, Any]) -> None:
    """Write JSON with a digest, so that `read_sealed` detects any change."""
    write_json(path, {**value, _SEAL: _seal(value)})


def read_sealed(path: AnyPath) -> dict[str, Any]:
    """Read a file of `write_sealed`. Raises CorruptError with the file's name if it differs."""
    try:
        check_no_other(path)
        value = parse_json(path.read_text(encoding="utf-8"))
        sealed = isinstance(value, dict) and value.pop(_SEAL, None) == _seal(value)
    except FileNotFoundError as error:
        raise CorruptError(f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise CorruptError(f"{path.name} cannot be read ({error})") from error
    if not sealed:
        raise CorruptError(f"{path.name} is corrupt: its text does not match its checksum")
    found: dict[str, Any] = value
    return found


def _seal(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: AnyPath) -> Manifest:
    """Read the manifest. Raises CorruptError."""
    found = read_checked(folder / NAME, ManifestFile)
    files = {name: FileDigest(**file) for name, file in found.pop("files").items()}
    return Manifest(**found, files=files)


def read_checked(path: AnyPath, kind: Any) -> dict[str, Any]:
    """`read_sealed`, of a type: another version seals its files as well. Raises CorruptError."""
    found = read_sealed(path)
    if "version" in found and found["version"] != VERSION:
        raise CorruptError(
            f"{path.name} has version {found['version']}, expected version {VERSION}"
        )
    try:
        checked: dict[str, Any] = check_typed(found, kind)
    except ValueError as error:
        raise CorruptError(f"{path.name} is not as this version writes it: {error}") from error
    return checked


def expected_files(folder: AnyPath) -> dict[str, FileDigest]:
    """Return all files that must exist: those of the save, and those added by an evaluation.

    Raises CorruptError.
    """
    meta, manifest = read_checked(folder / META, LaterFiles), read_manifest(folder)
    if meta["step"] != manifest.step:
        raise CorruptError(f"{META} is of step {meta['step']}, {NAME} of step {manifest.step}")
    later = meta.get("files", {})
    return manifest.files | {name: FileDigest(**file) for name, file in later.items()}


def check_sizes(folder: AnyPath) -> dict[str, FileDigest]:
    """Return `expected_files`, after checking existence and sizes; reads only small files.

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
    """Return the files that `rank` checks; assigned largest first to the least loaded rank."""
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
            raise CorruptError(f"{name} is corrupt: its checksum differs from the manifest")
