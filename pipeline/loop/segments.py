"""Trains in segments between events: evaluations, saves, ends of passes, and signals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pipeline.checkpoint.save import Checkpoints
from pipeline.data.batch import Batch
from pipeline.data.batch_source import BatchSource
from pipeline.faults.stop_signals import StopRequest
from pipeline.io.errors import UserError
from pipeline.loop.in_flight import InFlight
from pipeline.loop.run import Run
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput


class Segments:
    """Runs segments, and decides what to do between them.

    Within a segment the train pipeline is full. At its end it is drained, so that the model has
    been trained on exactly the batches that the source has yielded.
    """

    def __init__(self, run: Run, checkpoints: Checkpoints, stop: StopRequest) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._stop = stop
        self._stream = _passes(run.data.train)
        self.in_flight = InFlight(run.world, run.data.train)

    @property
    def evaluation_due(self) -> bool:
        """Whether to evaluate now. A saved step is evaluated without training it again."""
        progress, train = self._run.progress, self._run.config.train
        step = progress.step
        if step == 0 or progress.evaluated_step == step:
            return False
        if step >= self._run.end:
            return True
        every = train.eval_every
        due = step % every == 0 if every else self._run.data.train.steps_left == 0
        return due and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether a signal has asked any rank to stop."""
        return self.in_flight.stopping

    @property
    def out_of_patience(self) -> bool:
        """Whether `train.patience` evaluations have not improved."""
        patience = self._run.config.train.patience
        return 0 < patience <= self._run.progress.evaluations_without_better

    @property
    def finished(self) -> bool:
        """Whether no segment is left to run."""
        return self._run.progress.step >= self._run.end or self.stopped or self.out_of_patience

    def run(self, hooks: Hook) -> bool:
        """Train to the next event; returns whether an incremental save is sufficient."""
        run, progress, flight = self._run, self._run.progress, self.in_flight
        if run.data.train.steps_left == 0:
            progress.epoch += 1
            run.reset_tables()
        until, is_full = self._next_event()
        feed = flight.feed(islice(self._stream, until - progress.step))
        while (output := self._step(feed, hooks)) is not None:
            progress.step += 1
            run.world.pulse.step = progress.step
            saving = self._checkpoints.due or self._checkpoints.failed
            hooks.after_step(progress.step, output)
            flight.after_step(stop=self._stop.received, save=saving)
        flight.settle()
        hooks.after_segment(progress.step)
        is_full = flight.take_save_due() or is_full or flight.stopping
        return not is_full

    def _step(self, feed: Iterator[Batch], hooks: Hook) -> StepOutput | None:
        """Run one step; None when `feed` has ended and the pipeline is drained."""
        run, flight = self._run, self.in_flight
        step = run.progress.step + 1
        hooks.before_step(step)
        run.schedule.set()
        try:
            output: StepOutput = run.pipeline.progress(feed)
        except StopIteration:
            return None
        except Exception as error:
            if flight.batches:
                hooks.on_error(step, flight.batches[0], error)
            raise
        run.schedule.move()
        return output

    def _next_event(self) -> tuple[int, bool]:
        """Return the step of the next event, and whether it needs a full save."""
        run = self._run
        step, config = run.progress.step, run.config
        steps = [run.end]
        left = run.data.train.steps_left
        if left is not None and run.steps_per_pass is not None:
            steps.append(step + (left or run.steps_per_pass))
        steps += [_next(step, n) for n in (config.train.eval_every, config.checkpoint.every) if n]
        full = min(steps)
        if every := config.checkpoint.incremental_every:
            return min(full, _next(step, every)), full <= _next(step, every)
        return full, True


def _passes(source: BatchSource) -> Iterator[Batch]:
    """Yield the batches of all passes."""
    while True:
        is_empty = True
        for batch in source:
            is_empty = False
            yield batch
        if is_empty:
            raise UserError(
                f"{type(source).__name__}: a pass yielded no batch; its __iter__ must start the "
                "next pass after the end of one"
            )


def _next(step: int, every: int) -> int:
    """Return the first multiple of `every` after `step`."""
    return (step // every + 1) * every
