"""A small map, and its results."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipeline.experiments.map.cell_file import write_cell
from pipeline.experiments.map.design import Job, MapPlan, Training
from pipeline.experiments.map.dials import Dials, Grid
from pipeline.experiments.map.train_cell import train_cell
from pipeline.io.json_types import Json

TINY = MapPlan(
    kind="fast",
    towers=("home", "mmoe"),
    seeds=(0, 1),
    grids=(Grid("rows", (512, 1_024), "tasks", (2, 3)),),
    extra=(Dials(tasks=2, rows=512, signal=3.0),),
    training=Training(learning_rates=(1e-2,), batch_size=64, least_steps=8, test_rows=1_024),
)


@cache
def result(job: Job) -> Json:
    found = train_cell(job)
    assert found is not None
    return found


def write_results(out: Path, plan: MapPlan = TINY) -> None:
    """Write the result of every job."""
    for job in plan.jobs:
        write_cell(out, job, result(job))
