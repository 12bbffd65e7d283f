"""Results of `homerec map --anomalies`, read back typed. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from pipeline.experiments.file_types import Seed
from pipeline.experiments.map.cell_file import CellFinding
from pipeline.io.claim_folder import FolderKind
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from pipeline.io.typed_json import CLOSED, Number, read_typed

MARK = "anomalies.json"
_REMEDY = "remove it, and --resume trains the seed again"


@with_config(CLOSED)
class _Tower(TypedDict):
    zeros: Number
    one_task: Number | None
    specific: Number | None
    findings: list[CellFinding]


@with_config(CLOSED)
class AnomalyFile(TypedDict):
    """seeds/seed-S.json."""

    version: Literal[1]
    seed: Seed
    towers: Annotated[dict[str, _Tower], Field(min_length=1)]


ANOMALIES = FolderKind(
    name="folder of anomalies",
    mark=MARK,
    is_leftover=lambda path: path.name in (f".{MARK}.partial", "lock"),
    check=None,
)


def anomaly_path(seed: int) -> str:
    """Return the path of a seed's result in the folder."""
    return f"seeds/seed-{seed}.json"


def read_anomaly(out: Path, seed: int) -> Json | None:
    """Return the result of a seed; None if it has not ended. Raises UserError for another one."""
    path = out / anomaly_path(seed)
    if not path.exists():
        return None
    found: Json = read_typed(path, AnomalyFile, remedy=_REMEDY)
    if found["seed"] != seed:
        raise UserError(f"{path}: is of seed {found['seed']}; {_REMEDY}")
    return found
