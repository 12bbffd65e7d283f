"""Results of a cell and seed as a JSON file, read back typed. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, with_config
from typing_extensions import TypedDict

from pipeline.experiments.file_types import Seed
from pipeline.experiments.map.design import Job
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.io.json_types import Json
from pipeline.io.typed_json import CLOSED, Count, Number, read_typed

VERSION = 1


@with_config(CLOSED)
class CellFinding(TypedDict):
    """A fault that expert health finds."""

    kind: Literal["collapse", "degradation", "underfitting"]
    subject: str
    text: str


@with_config(CLOSED)
class _Tower(TypedDict):
    learning_rate: Number
    step: Count
    val_regret: list[Number]
    regret: list[Number]
    auc_gap: list[Number]
    findings: list[CellFinding]


def _lengths(cell: dict[str, Any]) -> dict[str, Any]:
    number = len(cell["entropy"])
    of_tasks = [cell["information"], cell["measured_rate"]]
    for tower in filter(None, cell["towers"].values()):
        of_tasks += [tower[name] for name in ("val_regret", "regret", "auc_gap")]
    if any(len(values) != number for values in of_tasks):
        raise ValueError("its lists have different numbers of tasks")
    return cell


@with_config(CLOSED)
class _Cell(TypedDict):
    version: Literal[1]
    seed: Seed
    measured_rate: list[Number]
    entropy: Annotated[list[Number], Field(min_length=1)]
    information: list[Number]
    towers: Annotated[dict[str, _Tower | None], Field(min_length=1)]
    """None: the tower diverged; its validation loss was never finite."""


CellFile = Annotated[_Cell, AfterValidator(_lengths)]


def write_cell(out: Path, job: Job, result: Json) -> None:
    """Write the result of a job atomically."""
    path = out / job.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)


def read_cell(out: Path, job: Job) -> Json | None:
    """Return the result of a job; None if it has not ended. Raises UserError for another one."""
    path = out / job.path
    if not path.exists():
        return None
    remedy = "remove it, and --resume trains the cell again"
    found: Json = read_typed(path, CellFile, remedy=remedy)
    same = found["seed"] == job.seed and len(found["entropy"]) == job.cell.tasks
    if not same or set(found["towers"]) != set(job.towers):
        raise UserError(f"{path}: not the towers, tasks or seed of this map; {remedy}")
    return found
