"""A run of one tower and seed at one origin."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from pipeline.checkpoint.layout import find_checkpoint
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.experiments.experiment import ExperimentRun
from pipeline.experiments.rolling.predictions import Collector
from pipeline.experiments.study import OUTCOME
from pipeline.io.files import has_file, write_json
from pipeline.io.typed_json import OPEN, Count, Time, read_typed
from pipeline.ranks.world import World
from pipeline.report.file_types import Results, ResultsFile

_CPU = "cpu_seconds.json"
_REMEDY = "remove the run's folder to train it again"


@with_config(OPEN)
class _Cpu(TypedDict):
    seconds: Time


@with_config(OPEN)
class RollingOutcome(TypedDict):
    """outcome.json; written last, so it marks a completed run."""

    version: Annotated[Literal[1], Field()]
    step: Count
    cpu_seconds: Time
    val: Results
    test: Results


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRun(ExperimentRun):
    """A run of one tower, seed and origin."""

    tower: str
    seed: int
    origin: str

    @property
    def is_over(self) -> bool:
        return has_file(self.folder / OUTCOME)

    def outcome(self) -> RollingOutcome:
        """Raises UserError if outcome.json is damaged."""
        found: RollingOutcome = read_typed(self.folder / OUTCOME, RollingOutcome, remedy=_REMEDY)
        return found

    def train(self, world: World) -> int:
        """Train or resume, score the test day with the best checkpoint, and drop checkpoints."""
        before = self._cpu_seconds() - time.process_time()
        try:
            return self._train(world, before)
        finally:
            if has_file(self.folder / "config.json") and not self.is_over:
                write_json(self.folder / _CPU, {"seconds": before + time.process_time()})

    def _cpu_seconds(self) -> float:
        """Return those of earlier sessions that were not killed."""
        if not has_file(self.folder / _CPU):
            return 0.0
        return float(read_typed(self.folder / _CPU, _Cpu, remedy=_REMEDY)["seconds"])

    def _train(self, world: World, cpu_before: float) -> int:
        code = ExperimentRun.train(self, world)
        if code:
            return code
        results = read_typed(self.folder / "results.json", ResultsFile, remedy=_REMEDY)
        collect = Collector()
        best = find_checkpoint(self.folder)
        data = self.config.data.path  # the study may have been moved since the checkpoint
        test, _ = evaluate_checkpoint(best, "test", data, world, observe=collect)
        collect.predictions(data, Schema.load(data)).save(self.folder)
        ended = {
            "version": 1,
            "step": results["step"],
            "cpu_seconds": round(cpu_before + time.process_time(), 2),
            "val": results["tasks"],
            "test": test,
        }
        write_json(self.folder / OUTCOME, ended)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return 0
