"""Whether the folder of a run has that run, and not another."""

from __future__ import annotations

from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.experiments.experiment import ExperimentRun
from pipeline.io.errors import UserError
from pipeline.io.files import has_file
from pipeline.io.json_types import Json


def check_same(run: ExperimentRun, *, own_data: bool = False) -> None:
    """Raise UserError if the run's folder has a run of other settings or data.

    `own_data`: the data are in the folder of the experiment, which may have been moved.
    """
    path = run.folder / "config.json"
    if not has_file(path):
        return
    ours, theirs = (config.model_dump(mode="json") for config in (run.config, Config.load(path)))
    if own_data:
        theirs["data"]["path"] = ours["data"]["path"]
    if field := _first_difference(ours, theirs):
        raise UserError(
            f"{path}: {field} differs from this command; give the same settings as before, "
            "--overwrite to replace the study, or another --out"
        )
    if Schema.load(run.folder) != Schema.load(run.config.data.path):
        raise UserError(
            f"{run.folder}: was trained on other data than that in {run.config.data.path}; "
            "pass --overwrite to replace the study, or give another folder with --out"
        )


def _first_difference(ours: Json, theirs: Json, prefix: str = "") -> str:
    """Return the dotted name of a field whose values differ, or ''."""
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            return _first_difference(a, b, f"{prefix}{key}.")
        return prefix + key
    return ""
