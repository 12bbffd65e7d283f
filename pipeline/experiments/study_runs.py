"""A study: an experiment with one run per tower and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoint.layout import find_checkpoint, remove, saved_steps, step_folder
from pipeline.checkpoint.verify import chain
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.experiments.experiment import ExperimentRun, RunOutcome
from pipeline.experiments.file_types import VERSION
from pipeline.experiments.same_run import check_same
from pipeline.experiments.study import OUTCOME, build_study, run_entry, save_study
from pipeline.io.errors import UserError
from pipeline.io.files import has_file, write_json
from pipeline.io.json_types import Json
from pipeline.io.typed_json import read_typed
from pipeline.ranks.world import World
from pipeline.report.file_types import ResultsFile

_ENDED_EARLY = ("failed", "stopped")
"""Statuses that a run keeps while it is not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerRun(ExperimentRun):
    """A run of one tower and seed."""

    tower: str
    seed: int

    @property
    def is_over(self) -> bool:
        return has_file(self.folder / OUTCOME)

    def train(self, world: World) -> int:
        """Train or resume, evaluate the best checkpoint on the test split, and keep only that."""
        code = ExperimentRun.train(self, world)
        if code:
            return code
        remedy = "remove the run's folder to train it again"
        results = read_typed(self.folder / "results.json", ResultsFile, remedy=remedy)
        best = find_checkpoint(self.folder)
        test = None
        if Schema.load(self.folder).splits["test"].rows:
            test, _ = evaluate_checkpoint(best, "test", None, world)
        stay = chain(best)
        for step in saved_steps(best.parent):
            if step_folder(best.parent, step) not in stay:
                remove(best.parent, step)
        ended = {"version": VERSION, "step": results["step"], "val": results["tasks"], "test": test}
        write_json(self.folder / OUTCOME, ended)
        return 0


class Study:
    """Starts the runs that are not finished, and updates study.json."""

    def __init__(
        self,
        out: Path,
        head: Json,
        runs: Sequence[TowerRun],
        kept: Sequence[TowerRun],
        before: Json,
    ) -> None:
        """
        Args:
            head: head of study.json.
            kept: runs of an earlier session that are not requested now.
            before: previous study.json; {} for a new study.

        Raises:
            UserError: the folder of a run contains a run with other settings or data.
        """
        self._out = out
        self._head = head
        self._runs = runs
        for run in (*runs, *kept):
            check_same(run)
        self._entries: dict[tuple[str, int], Json] = {
            (entry["tower"], entry["seed"]): entry for entry in before.get("runs", ())
        }
        for run in (*runs, *kept):
            self._check_there(run)
        for run in (*kept, *runs):
            if run.is_over:
                self._note(run, "done")
            elif run in runs or self._entries[run.tower, run.seed]["status"] not in _ENDED_EARLY:
                self._note(run, "pending")
        self._pending = [run for run in runs if not run.is_over]
        self.num_pending = len(self._pending)
        save_study(out, self.record())

    @property
    def total(self) -> int:
        return len(self._runs)

    @property
    def num_ended(self) -> int:
        return sum(self._entries[run.tower, run.seed]["status"] == "done" for run in self._runs)

    @property
    def footer(self) -> str:
        return ""

    def next_run(self) -> TowerRun | None:
        return self._pending.pop(0) if self._pending else None

    def evaluated(self, run: TowerRun, step: int, value: float) -> bool:
        return False

    def ended(self, run: TowerRun, outcome: RunOutcome, error: str | None, seconds: float) -> str:
        self._note(run, outcome, error)
        save_study(self._out, self.record())
        return f"{run.name}: " + (f"failed: {error}" if error else outcome)

    def record(self) -> Json:
        """Return the content of study.json."""
        return build_study(self._head, list(self._entries.values()))

    def _check_there(self, run: TowerRun) -> None:
        """Raise UserError if a finished run is gone, instead of training it again."""
        entry = self._entries.get((run.tower, run.seed))
        if entry and entry["status"] == "done" and not (run.folder / "config.json").is_file():
            raise UserError(
                f"{self._out}: {run.tower} seed {run.seed} was finished, but {run.folder} is gone; "
                "restore it (is a disk not mounted?), or start the study again with --overwrite"
            )

    def _note(self, run: TowerRun, status: str, error: str | None = None) -> None:
        entry = run_entry(run.tower, run.seed, run.folder, status, error)
        self._entries[run.tower, run.seed] = entry
