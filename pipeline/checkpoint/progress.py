"""Progress of a run: the state it resumes from, except tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.checkpoint.file_types import MetaFile
from pipeline.checkpoint.manifest import META, CorruptError, read_checked
from pipeline.io.storage import AnyPath
from pipeline.metrics.spec import lower_is_better

# Of a window of training metrics, over all ranks: far beyond any, and memory has room for it.
_MOST_ROWS = 2**26


@dataclass(kw_only=True)
class Progress:
    """Position of a run in training, equal on all ranks."""

    step: int = 0
    scheduled: float | None = None
    """Position in the schedule, in steps of train.batch_size rows; None: same as `step`."""
    world_size: int = 0
    device: str = "cpu"
    """Device type of the ranks that saved."""
    source: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    """Completed passes over the data."""
    norms: list[dict[str, Any]] = field(default_factory=list)
    """Norms of the experts in the last probes (see ExpertProbe)."""
    window: dict[str, int] = field(default_factory=dict)
    """Counters of the window of training metrics."""
    evaluated_step: int = 0
    select: str = "mean/auc"
    best_step: int | None = None
    best_value: float | None = None
    evaluations_without_better: int = 0

    def note_saver(self, world_size: int, device: str) -> None:
        """Record which ranks save it."""
        self.world_size, self.device = world_size, device

    def note_window(self, counters: dict[str, int]) -> None:
        """Record the counters of the window that is saved with it."""
        self.window = counters

    def note(self, value: float | None) -> bool:
        """Record an evaluation of this step (`value` of `select`); return whether it is best."""
        self.evaluated_step = self.step
        lower = lower_is_better(self.select)
        best = self.best_value
        # The first evaluation counts even if undefined, so that every run has a best checkpoint.
        better = self.best_step is None or (
            value is not None and (best is None or (value < best if lower else value > best))
        )
        self.evaluations_without_better = 0 if better else self.evaluations_without_better + 1
        if better:
            self.best_step, self.best_value = self.step, value
        return better

    def selecting(self, select: str) -> Progress:
        """Return the progress for metric `select`, discarding values of another metric."""
        return self if select == self.select else replace(self._unjudged(), select=select)

    def with_best_among(self, steps: list[int]) -> Progress:
        """Return the progress without the best step if its checkpoint was removed."""
        return self if self.best_step in (None, *steps) else self._unjudged()

    def _unjudged(self) -> Progress:
        """Return the progress without evaluations, so that this step is evaluated again."""
        return replace(
            self,
            evaluated_step=0,
            best_step=None,
            best_value=None,
            evaluations_without_better=0,
        )


def read_progress(folder: AnyPath) -> Progress:
    """Of the checkpoint in `folder`. Raises CorruptError."""
    found = read_checked(folder / META, MetaFile)
    found.pop("files", None)
    rows, ranks = found["window"].get("rows", 0), found["world_size"]
    if rows * ranks > _MOST_ROWS:
        raise CorruptError(f"{META}: a window of {rows} rows on each of {ranks} ranks")
    return Progress(**found)
