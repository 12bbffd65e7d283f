"""The folder of a map: map.json, map.html, and one file per cell and seed.

    map.json                      settings first, results at the end (summary.py)
    map.html                      the page
    cells/DIALS/seed-S.json       results (cell_file.py)

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from pipeline.experiments.file_types import Seed
from pipeline.experiments.map.cell_file import read_cell
from pipeline.experiments.map.design import MapPlan, design_map
from pipeline.experiments.map.summary import summarize
from pipeline.io.claim_folder import FolderKind
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.io.json_types import Json
from pipeline.io.typed_json import OPEN, Count, Number, read_typed

NAME = "map.json"
PAGE = "map.html"
_REMEDY = "name another folder with --out"


@with_config(OPEN)
class _Difference(TypedDict):
    n: Count
    mean: Number
    error: Number | None
    conclusion: Literal["better", "worse", "inconclusive"]


@with_config(OPEN)
class _MapCell(TypedDict):
    dials: dict[str, Number]
    title: str | None
    is_random: bool
    seeds: Count
    information: Number
    rival: str
    difference: _Difference
    by_seed: dict[str, Number]
    auc_difference: _Difference
    towers: dict[str, dict[str, Any]]


@with_config(OPEN)
class _Test(TypedDict):
    cells: Count
    error: Number
    error_of_none: Number


@with_config(OPEN)
class _Region(TypedDict):
    where: str
    conditions: list[dict[str, Any]]
    cells: Count
    mean: Number
    error: Number | None
    conclusion: Literal["better", "worse", "inconclusive"]
    better: Count
    worse: Count


@with_config(OPEN)
class _Rule(TypedDict):
    cells: Count
    regions: list[_Region]
    test: _Test | None


@with_config(OPEN)
class MapFile(TypedDict):
    """map.json."""

    version: Literal[1]
    kind: Literal["fast", "full"]
    towers: Annotated[list[str], Field(min_length=2)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    jobs: Count
    done: Count
    diverged: dict[str, Count]
    cells: list[_MapCell]
    rule: _Rule
    anomalies: dict[str, dict[str, Number]]


def load_map(out: Path) -> Json:
    """Load a map. Raises UserError if `out` has none, or a damaged one."""
    if not (out / NAME).exists():
        raise UserError(f"{out}: no map (no {NAME}); make one with 'homerec map --out {out}'")
    found: Json = read_typed(out / NAME, MapFile, remedy=_REMEDY)
    return found


MAP = FolderKind(
    name="map",
    mark=NAME,
    is_leftover=lambda path: path.name in (f".{NAME}.partial", "lock"),
    check=None,
)


def plan_of(out: Path, kind: str | None, towers: Sequence[str], seeds: int | None) -> MapPlan:
    """Return the plan of the map in `out`, to resume it. Raises UserError if it is another one."""
    found = load_map(out)
    given = {
        "--fast": (kind, found["kind"]),
        "--towers": (",".join(towers) or None, ",".join(found["towers"])),
        "--seeds": (seeds, len(found["seeds"])),
    }
    for option, (value, before) in given.items():
        if value is not None and value != before:
            raise UserError(
                f"command line: {option}: the map in {out} has {before}, not {value}; omit the "
                "option, or give another --out"
            )
    return design_map(found["kind"], found["towers"], len(found["seeds"]))


def save_map(out: Path, plan: MapPlan) -> Json:
    """Summarize the finished jobs in map.json, and return its content."""
    jobs = list(plan.jobs)
    results: dict[Any, dict[int, Json]] = {cell: {} for cell in plan.cells}
    for job in jobs:
        if (result := read_cell(out, job)) is not None:
            results[job.cell][job.seed] = result
    found = summarize(plan, results, len(jobs))
    write_json(out / NAME, found)
    return found
