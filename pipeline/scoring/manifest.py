"""The manifest of a model folder: all that is needed to score, and what the model is.

MODEL/manifest.json       written last; lists every file with size and SHA-256
MODEL/tables/N.TYPE       one file per embedding table, which maps into memory
MODEL/tower.pt            weights of the dense half
MODEL/tower.pt2           the tower as torch.export saves it
MODEL/tower.aoti.pt2      the same compiled by AOTInductor, if there was a C++ compiler
MODEL/features/           feature program and fitted values of a table of one's own
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from embeddings.frozen import Frozen
from embeddings.strict_json import DuplicateKey, check_keys, parse_json
from models.layers.config import AttentionConfig
from models.towers.config import TowerConfig
from pipeline.data.schema import DenseFeature, SparseFeature
from pipeline.io.errors import UserError
from pipeline.io.files import read_text, write_json
from pipeline.io.typed_json import Count, fault

NAME = "manifest.json"
VERSION = 1
TableType = Literal["fp32", "fp16", "int8"]
_SEAL = "sha256"
_REMEDY = "export the model again"
_CHUNK_BYTES = 1 << 20


class FileRecord(Frozen):
    """Size and checksum of a file."""

    bytes: Count
    sha256: str


class TableRecord(Frozen):
    """An embedding table and its file."""

    name: str
    file: str
    type: TableType
    rows: int = Field(ge=1, le=2**41)
    dim: int = Field(ge=1, le=2**13)
    vocab_size: int = Field(ge=1, le=2**40)
    hash_rows: int = Field(ge=0, le=2**40)
    """Rows after the vocabulary, shared by ids outside it; 0: such ids are errors."""
    program_rows: Count | None = None
    """Rows of a table that the feature program hashes ids into; None: it has a vocabulary."""
    unpooled: bool = False
    """Whether target attention reads single rows."""


class TaskRecord(Frozen):
    """A task, in the order of the tower's logits."""

    name: str
    category: str


class Parity(Frozen):
    """Comparison with evaluation, on rows of the validation split."""

    rows: Count
    max_difference: float
    """Largest absolute difference of a probability."""
    auc: Mapping[str, tuple[float, float] | None]
    """By task: AUC of evaluation and of the exported model; None without both classes."""


class Origin(Frozen):
    """Where the model comes from."""

    run: str
    step: Count
    checkpoint: str
    """SHA-256 of the checkpoint's manifest."""
    made_by: str
    """Version of homerec."""
    dataset: str
    rows: Mapping[str, Count]
    """Rows of each split."""
    split: Mapping[str, Any] | None = None
    """How a table of one's own was split."""
    metrics: Mapping[str, Any] | None = None
    """Metrics of the checkpoint on the validation split, by task."""
    config: Mapping[str, Any]
    """The run's configuration."""


class Manifest(Frozen):
    """Content of manifest.json."""

    version: Literal[1] = 1
    tasks: tuple[TaskRecord, ...]
    formula: str
    """Ranking score of a row, from the probabilities of its tasks."""
    has_program: bool
    """Whether inputs are raw columns that `features/` encodes; otherwise they are the columns of a
    prepared folder."""
    sparse: tuple[SparseFeature, ...]
    """Id features, in the order of the tower's input."""
    averaged: tuple[str, ...]
    """Features with mean pooling; the others are summed."""
    pooled: tuple[str, ...]
    """Features in the tower's input, in order; then come attention and numbers."""
    dense: tuple[DenseFeature, ...]
    tables: tuple[TableRecord, ...]
    attention: AttentionConfig
    tower: TowerConfig | None
    """None: a tower that only tower.pt2 has."""
    compiled_for: str | None = None
    """Digest of the machine that tower.aoti.pt2 was compiled for; None: there is none."""
    compiled_dtype: Literal["fp32", "bf16"] = "fp32"
    """Number format that tower.aoti.pt2 computes in; all else is float32."""
    parity: Parity | None
    """None: not compared; such a folder is not loaded."""
    origin: Origin
    files: Mapping[str, FileRecord]

    @property
    def scores_as(self) -> str:
        """Digest of what scores follow from: equal for exports of one checkpoint with numbers of
        one format and the same formula."""
        kinds = sorted({table.type for table in self.tables})
        parts = [self.version, self.origin.checkpoint, kinds, self.formula, self.compiled_dtype]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the file, with its own digest."""
        value = self.model_dump(mode="json")
        write_json(folder / NAME, {**value, _SEAL: seal_of(value)})


def load_manifest(folder: Path) -> tuple[Manifest, str]:
    """Read the manifest; also returns its digest, which stands for the whole model.

    Raises UserError if there is none, or if it was damaged or written by another version.
    """
    path = folder / NAME
    if not path.is_file():
        what = "no manifest.json" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: not an exported model ({what}); 'homerec export' writes one")
    text = read_text(path, remedy=_REMEDY)
    try:
        check_keys(text)
        value = parse_json(text)
    except (DuplicateKey, ValueError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); {_REMEDY}") from error
    seal = value.pop(_SEAL, None) if isinstance(value, dict) else None
    if not isinstance(value, dict) or seal != seal_of(value):
        raise UserError(f"{path}: its text does not match its checksum; {_REMEDY}")
    if value.get("version") != VERSION:
        raise UserError(
            f"{path}: has version {value.get('version')}, this homerec reads {VERSION}; {_REMEDY}"
        )
    try:
        return Manifest.model_validate_json(json.dumps(value)), seal
    except ValidationError as error:
        raise UserError(f"{path}: {fault(error)}; {_REMEDY}") from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Verify size and checksum of every file. Raises UserError for the first that differs."""
    with ThreadPoolExecutor(4) as threads:
        problems = threads.map(
            lambda one: _problem(folder / one[0], one[1]), manifest.files.items()
        )
        for problem in problems:
            if problem is not None:
                raise UserError(f"{problem}; {_REMEDY}, or copy it again")


def _problem(path: Path, expected: FileRecord) -> str | None:
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            return f"{path}: has {size:,} bytes, {expected.bytes:,} were written"
        found = file_record(path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"
    return None if found == expected else f"{path}: its content does not match its checksum"


def file_record(path: Path) -> FileRecord:
    """Return size and checksum of a file. Raises OSError."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
            size += len(chunk)
    return FileRecord(bytes=size, sha256=hashed.hexdigest())


def seal_of(value: Mapping[str, Any]) -> str:
    """Return the digest that a JSON file of `value` carries."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
