"""What the small files of a checkpoint hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from pipeline.io.typed_json import CLOSED, LIMIT, OPEN, Count, Number, Time

MOST_RANKS = 2**20
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
FileName = Annotated[str, Field(pattern=r"\A[^/\\\x00]+\z", min_length=3, max_length=255)]
"""In the checkpoint's own folder."""


@with_config(CLOSED)
class DigestEntry(TypedDict):
    bytes: Count
    sha256: Sha256


Digests = dict[FileName, DigestEntry]


@with_config(CLOSED)
class ManifestFile(TypedDict):
    """manifest.json, without its checksum."""

    version: Literal[1]
    step: Count
    epoch: Count
    saved: Time
    world_size: Annotated[Count, Field(ge=1, lt=MOST_RANKS)]
    files: Digests
    base: Count | None
    base_manifest: Sha256 | None


@with_config(OPEN)
class LaterFiles(TypedDict):
    """The part of meta.json that names it and what an evaluation adds."""

    step: Count
    files: NotRequired[Digests]


@with_config(CLOSED)
class WindowCounts(TypedDict):
    since_auc: Count
    held_by_auc: Count
    rows: Annotated[Count, Field(lt=2**24)]


@with_config(CLOSED)
class MetaFile(TypedDict):
    """meta.json, without its checksum: Progress, and what an evaluation adds."""

    step: Count
    scheduled: Annotated[Number, Field(ge=0, lt=LIMIT)] | None
    world_size: Annotated[Count, Field(lt=MOST_RANKS)]
    device: str
    source: dict[str, Any]
    epoch: Count
    norms: list[dict[str, dict[str, Number | None]]]
    window: WindowCounts | Annotated[dict[str, Count], Field(max_length=0)]
    evaluated_step: Count
    select: str
    best_step: Count | None
    best_value: Number | None
    evaluations_without_better: Count
    files: NotRequired[Digests]


@with_config(OPEN)
class BestFile(TypedDict):
    """best.json."""

    step: Count


@with_config(CLOSED)
class LeaseFile(TypedDict):
    """lease.json."""

    run: str
    host: str
    pid: Count
    began: str
