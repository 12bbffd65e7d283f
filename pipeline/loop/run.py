"""A run in progress: sharded model, optimizer, train pipeline and position."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.tower import TowerFactory
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.tree import Config
from pipeline.evaluate import Results, evaluate
from pipeline.faults.step_guard import StepGuard
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.loop.data import TrainData
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.world import World
from pipeline.training.batch_size import BatchSizes, batch_sizes
from pipeline.training.build import build
from pipeline.training.deterministic import make_deterministic
from pipeline.training.optim.schedule import Schedule
from pipeline.training.parallelize import Parallel
from pipeline.training.reset_tables import reset_tables
from pipeline.training.step import Step
from pipeline.training.train_pipeline import open_pipeline

# Number of samples in the window of training metrics, over all ranks.
_WINDOW = 100_000


@dataclass(slots=True, kw_only=True)
class Run:
    """State shared by the loop and its hooks."""

    config: Config
    folder: Path
    world: World
    data: TrainData
    rows: BatchSizes
    step: Step
    parallel: Parallel
    guard: StepGuard
    pipeline: Any
    windowed: WindowedMetrics
    steps_per_pass: int | None
    progress: Progress
    schedule: Schedule = field(init=False)
    end: int = field(init=False)
    """The last step."""

    def start(self, checkpoints: Checkpoints, *, resume: bool) -> bool:
        """Load the newest checkpoint, if `resume` and there is one; else start at step 0.

        Returns whether a checkpoint was loaded.
        """
        world, config = self.world, self.config
        # A resume restores the random state, which building the model may have changed.
        torch.manual_seed(config.train.seed * world.size + world.rank)
        found = None
        if resume:
            model, optimizer = self.parallel.model, self.parallel.optimizer
            found = checkpoints.load_latest(model, optimizer, self.windowed)
        if found:
            self.progress = found.selecting(config.train.select)
            self.data.train.load_state_dict(self.progress.source)
            if found.world_size != world.size and world.is_first:
                message = f"resuming on {world.size} ranks; saved on {found.world_size}"
                print_line(plain_console(), message)
        step, scheduled = self.progress.step, self.progress.scheduled
        length = self._length()
        self.end = min(config.train.max_steps or length, length)
        self.schedule = Schedule(
            config.schedule,
            self.parallel.optimizer,
            length - step,
            rows=self.rows,
            at=step if scheduled is None else scheduled,
        )
        world.pulse.step = step
        return found is not None

    def reset_tables(self) -> None:
        """Reset the tables that are reset at the start of each pass."""
        tables, epoch = self.data.chosen.tables, self.progress.epoch
        reset_tables(self.parallel, tables, self.config, epoch)

    def roll_back(self, checkpoints: Checkpoints) -> bool:
        """Restore weights and optimizer from the last checkpoint, but not the position.

        Returns False if there is none. Collective.
        """
        checkpoints.wait()
        found = checkpoints.load_latest(self.parallel.model, self.parallel.optimizer)
        if found is not None and found.epoch != self.progress.epoch:
            self.reset_tables()
        return found is not None

    def save(self, checkpoints: Checkpoints, *, incremental: bool = False) -> None:
        """Save a checkpoint. The pipeline must be drained. Collective."""
        self.progress.source = self.data.train.state_dict()
        self.progress.scheduled = self.schedule.at
        checkpoints.save(
            self.parallel.model,
            self.parallel.optimizer,
            self.progress,
            windowed=self.windowed,
            incremental=incremental,
        )

    def evaluate(self) -> tuple[Results, dict[str, Any]]:
        """Return metrics of the validation split by task, and the experts' health. Collective."""
        model, head, data = self.parallel.model, self.step.model.head, self.data
        return evaluate(model, self.pipeline, head, data.validation, data.chosen, self.world)

    def _length(self) -> int:
        """Return the number of steps of all passes, including completed ones."""
        step, epoch, train = self.progress.step, self.progress.epoch, self.config.train
        left = self.data.train.steps_left
        if left is None or self.steps_per_pass is None:
            if not train.max_steps:
                raise UserError(
                    "train.max_steps: 0, but the source is endless; set --train.max_steps"
                )
            return max(train.max_steps, step)
        return step + max(0, left + (train.epochs - 1 - epoch) * self.steps_per_pass)


def build_run(
    config: Config, folder: Path, data: TrainData, world: World, tower: TowerFactory | None = None
) -> Run:
    """Set up a run at step 0 with initial weights. Collective.

    `tower`: used instead of `config.model.tower`.
    """
    rows = batch_sizes(config.train, world.size)
    if config.train.deterministic:
        make_deterministic()
    step, parallel = build(config, data.chosen, world, tower)
    parallel.model.train()
    guard = StepGuard(step, parallel.optimizer, config.faults, world, data.chosen.input_columns)
    return Run(
        config=config,
        folder=folder,
        world=world,
        data=data,
        rows=rows,
        step=step,
        parallel=parallel,
        guard=guard,
        pipeline=open_pipeline(parallel, world, config),
        windowed=WindowedMetrics(
            data.chosen.tasks,
            batch_size=rows.per_rank,
            world_size=world.size,
            rank=world.rank,
            device=world.device,
            window=_WINDOW,
            weighted=data.chosen.is_weighted,
        ),
        steps_per_pass=data.train.steps_left,
        progress=Progress(select=config.train.select),
    )
