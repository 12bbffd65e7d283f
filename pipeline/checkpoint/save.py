"""Checkpoints: everything a run needs to resume as if it had never stopped.

    checkpoints/step-00000120/   files of torch.distributed.checkpoint, and
        config.json  schema.json  configuration and data schema, to rebuild the model
        meta.json                 step, data position, best metric so far
        results.json  health.json results of its evaluation, if it was the best so far
        manifest.json             size and checksum of every file; written last
    checkpoints/best.json        {"step": ..., "value": ...}
    checkpoints/lease.json       id of the run that saves here

A save writes to a folder whose name starts with a dot and renames it when every rank is done, so a
crash leaves the last checkpoint untouched. Object stores cannot rename: there the manifest, written
last, commits the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.commit import Committer
from pipeline.checkpoint.host_staging import HostStaging, PreStaged
from pipeline.checkpoint.incremental import changed_rows
from pipeline.checkpoint.layout import is_finished, saved_steps, step_folder
from pipeline.checkpoint.load import cause, load_newest, origin
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.run_state import state_dict, window_state_dict
from pipeline.checkpoint.writer import CheckpointWriter
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, free_space, remove_tree
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.coordinate import broadcast_from_rank0, run_on_rank0
from pipeline.ranks.world import World


class Checkpoints:
    """Saves, prunes and loads the checkpoints of one run. All methods are collective.

    `on_commit` is called on rank 0 with the step of each completed checkpoint. `start_again` is the
    option to name where a run cannot be resumed because its first save failed.

    As a context manager it waits for the current save on exit. If the body raised an exception, an
    error of that save is added to it as a note.
    """

    def __init__(
        self,
        folder: AnyPath,
        world: World,
        config: Config,
        schema: Schema,
        *,
        on_commit: Callable[[int], None] = lambda step: None,
        start_again: str = "--resume auto",
    ) -> None:
        self._folder = folder
        self._world = world
        self._config = config
        self._schema = schema
        self._start_again = start_again
        self._committer = Committer(folder, config, schema, on_commit)
        # A separate process group, because a save overlaps with collectives of training steps.
        self._group = dist.new_group(backend="gloo")
        self._staging = HostStaging()
        self._saving: Future[Any] | None = None
        self._saving_step = 0
        self._full_step: int | None = None  # step of the staged full checkpoint
        self._next_full_step: int | None = None
        self._last_save = time.monotonic()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.wait()
        elif self._saving is not None and (failure := self._saving.exception()) is not None:
            error.add_note(f"step {self._saving_step} was also not saved: {cause(failure)}")

    def claim(self) -> None:
        """Acquire the lease on the folder; saves raise UserError when another run acquires it."""
        try:
            run_on_rank0(self._world, self._committer.acquire_lease)
        except OSError as error:
            raise UserError(
                f"{self._folder}: cannot be written: {cause(error)}; fix this"
            ) from error

    @property
    def failed(self) -> bool:
        """Whether an asynchronous save has failed; `wait` raises the error."""
        return (
            self._saving is not None
            and self._saving.done()
            and self._saving.exception() is not None
        )

    @property
    def due(self) -> bool:
        """Whether checkpoint.minutes have passed since the last full save, by rank 0's clock."""
        minutes = self._config.checkpoint.minutes
        passed = time.monotonic() - self._last_save
        return self._world.is_first and 0 < minutes * 60 <= passed

    def save(
        self,
        model: nn.Module,
        optimizer: CombinedOptimizer,
        progress: Progress,
        *,
        windowed: WindowedMetrics | None = None,
        incremental: bool = False,
    ) -> None:
        """Save step `progress.step`, then remove old checkpoints; waits for the previous save.

        If the step is already saved, only the results of its evaluation are written.

        Args:
            incremental: save only the rows changed since the last full checkpoint, if there is one.

        Raises:
            UserError: on all ranks: disk full, no permission. No partial files remain. Errors of
                an asynchronous save are raised by the next `save` or `wait`.
        """
        self.wait()
        if not incremental:
            self._last_save = time.monotonic()
        progress.note_saver(self._world.size, self._world.device.type)
        if self._is_there(progress.step):
            self._reraise_disk_errors(
                progress.step,
                lambda: run_on_rank0(
                    self._world, lambda: self._committer.record_evaluation(progress)
                ),
            )
            return
        self._saving_step = progress.step
        state = state_dict(model, optimizer, self._world)
        window: dict[str, Any] = {}
        counters: dict[str, int] = {}
        if windowed is not None:
            window, counters = window_state_dict(windowed, self._world)
        progress.note_window(counters)
        state, base = self._select(state, progress.step, incremental=incremental)
        self._write(state | window, self._committer.writer(progress, base))

    def _select(
        self, state: dict[str, Any], step: int, *, incremental: bool
    ) -> tuple[dict[str, Any], int | None]:
        """What to write, and the step of the full checkpoint that it is based on, if any.

        Rows changed since the last full checkpoint; or all, staged for the saves that follow.
        """
        if incremental and self._full_step is not None and self._is_there(self._full_step):
            assert self._staging.staged is not None
            return changed_rows(state, self._staging.staged), self._full_step
        self._last_save = time.monotonic()
        self._full_step = None
        if self._config.checkpoint.asynchronous or self._config.checkpoint.incremental_every:
            state, self._next_full_step = self._staging.copy(state), step
        return state, None

    def _write(self, state: dict[str, Any], writer: CheckpointWriter) -> None:
        """Start the save, and wait for it unless checkpoint.asynchronous."""
        if self._config.checkpoint.asynchronous:
            saving = async_save(
                state,
                storage_writer=writer,
                process_group=self._group,
                async_stager=PreStaged(),
            )
            assert isinstance(saving, Future)
            self._saving = saving
            return
        self._saving = Future()
        try:
            self._saving.set_result(
                dcp_save(state, storage_writer=writer, process_group=self._group)
            )
        except Exception as error:  # noqa: BLE001 (raised by wait)
            self._saving.set_exception(error)
        self.wait()

    def wait(self) -> None:
        """Wait for the current save, if any. Raises UserError on all ranks if it failed."""
        saving, self._saving = self._saving, None
        if saving is not None:
            self._reraise_disk_errors(self._saving_step, saving.result)
            if self._next_full_step is not None:
                self._full_step, self._next_full_step = self._next_full_step, None

    def load_latest(
        self,
        model: nn.Module,
        optimizer: CombinedOptimizer,
        windowed: WindowedMetrics | None = None,
    ) -> Progress | None:
        """Restore model and optimizer from the newest valid checkpoint; None if there is none.

        Corrupt checkpoints are skipped, with a line on the console. Raises UserError if all are.
        """
        progress, corrupt = load_newest(
            self._folder,
            model,
            optimizer,
            self._world,
            self._config,
            self._schema,
            windowed,
        )
        self._committer.note_corrupt(corrupt)
        return progress

    def _is_there(self, step: int) -> bool:
        """Whether rank 0 sees the step as saved; shared file systems show files late."""
        there = is_finished(step_folder(self._folder, step)) and step not in self._committer.corrupt
        return bool(broadcast_from_rank0(self._world, there))

    def _reraise_disk_errors(self, step: int, action: Any) -> None:
        """Run `action`; raise errors of the disk or store as UserError on all ranks."""
        final = step_folder(self._folder, step)
        partial = self._committer.partial(step)
        try:
            action()
        except (CheckpointException, OSError) as error:
            if not isinstance(origin(error), Exception):
                raise origin(error) from error  # Ctrl-C, not an error of the disk
            free, some = broadcast_from_rank0(
                self._world, (free_space(self._folder), bool(saved_steps(self._folder)))
            )
            again = "resume with --resume" if some else f"start again with {self._start_again}"
            failure = UserError(f"{final}: not saved: {cause(error)}{free}; fix this, then {again}")
            run_on_rank0(self._world, lambda: _clear(partial))
            raise failure from error


def _clear(partial: AnyPath) -> None:
    """Remove the files of a failed save, unless it failed after the commit."""
    if not is_finished(partial):
        remove_tree(partial, missing_ok=True)
