"""One run of a study, from its start to its figures.

It is one tower and one seed: an ordinary run of `train` on one rank in a folder of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoint.layout import find_checkpoint, remove, saved_steps, step_folder
from pipeline.checkpoint.verify import chain
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.experiments.study import OUTCOME, VERSION
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.ranks.world import World
from pipeline.report.run_files import Json
from pipeline.train import train


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One tower, one seed."""

    tower: str
    seed: int
    folder: Path
    config: Config

    @property
    def name(self) -> str:
        return f"{self.tower} seed {self.seed}"

    @property
    def log(self) -> Path:
        """Beside the folder: that one belongs to the run alone."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def is_over(self) -> bool:
        return (self.folder / OUTCOME).is_file()


def check_same(run: Run) -> None:
    """UserError if the run's folder holds a run with other settings or of other data."""
    path = run.folder / "config.json"
    if not path.is_file():
        return
    ours, theirs = (config.model_dump(mode="json") for config in (run.config, Config.load(path)))
    if field := _first_difference(ours, theirs):
        raise UserError(
            f"{path}: {field} is not what this command asks for; say the same settings as before, "
            "--overwrite to replace the study, or another --out"
        )
    if Schema.load(run.folder) != Schema.load(run.config.data.path):
        raise UserError(
            f"{run.folder}: was trained on other data than {run.config.data.path} now holds; "
            "--overwrite replaces the study, --out names another folder"
        )


def run_to_the_end(run: Run, world: World) -> int:
    """Train, or go on; evaluate the best checkpoint once on the test split; keep what came out.

    Returns the exit code: 0, or ExitCode.STOPPED after a signal. UserError for bad input.
    """
    code = train(run.config, run.folder, world, resume=True, overwrite=False)
    if code:
        return code
    results = json.loads((run.folder / "results.json").read_text())
    best = find_checkpoint(run.folder)
    test = None
    if Schema.load(run.folder).splits["test"].rows:
        test, _ = evaluate_checkpoint(best, "test", None, world)
    stay = chain(best)
    for step in saved_steps(best.parent):
        if step_folder(best.parent, step) not in stay:
            remove(best.parent, step)
    outcome = {"version": VERSION, "step": results["step"], "val": results["tasks"], "test": test}
    write_json(run.folder / OUTCOME, outcome)
    return 0


def _first_difference(ours: Json, theirs: Json, prefix: str = "") -> str:
    """The dotted name of a field whose values differ, or ''."""
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            return _first_difference(a, b, f"{prefix}{key}.")
        return prefix + key
    return ""
