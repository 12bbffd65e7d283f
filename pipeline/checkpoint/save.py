"""Checkpoints: everything a run needs to go on as if it had never stopped.

    checkpoints/step-00000120/   torch.distributed.checkpoint's files, and beside them
        config.json  schema.json  the run's tree and the data's schema, to rebuild the model
        meta.json                 step, data position, best figure so far
        results.json  health.json what its evaluation gave, if it was the best so far
        manifest.json             size and checksum of every file; written last
    checkpoints/best.json        {"step": ..., "value": ...}
    checkpoints/owner.json       the run that saves here

A save writes into a folder whose name begins with a dot and renames it when every rank is done:
whatever dies on the way leaves the last good checkpoint as it was. Stores cannot rename: there the
manifest, which comes last, makes a checkpoint of the files.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.commit import Publisher
from pipeline.checkpoint.host_staging import Copied, HostCopy
from pipeline.checkpoint.incremental import changed_rows
from pipeline.checkpoint.layout import is_finished, step_folder
from pipeline.checkpoint.lease import Owner
from pipeline.checkpoint.load import cause, load_newest, origin
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.run_state import collect, collect_window
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, free_space, remove_tree
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.coordinate import broadcast_from_rank0, run_on_rank0
from pipeline.ranks.world import World


class Checkpoints:
    """Saves to, prunes, and loads from one run's folder. Every rank must call each method.

    As a context it ends with the save that is under way: when its body raised, that save's own
    error comes as a note to the body's.
    """

    def __init__(self, folder: AnyPath, world: World, config: Config, schema: Schema) -> None:
        self._folder = folder
        self._world = world
        self._config = config
        self._schema = schema
        self._publisher = Publisher(folder, config, schema)
        # Exchanges of a save under way must not meet those of the steps that go on beside it.
        self._group = dist.new_group(backend="gloo")
        self._host_copy = HostCopy()
        self._saving: Future[Any] | None = None
        self._saving_step = 0
        self._whole: int | None = None  # the step that self._host_copy is of, once it is saved
        self._whole_next: int | None = None
        self._last_save = time.monotonic()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait()
        elif self._saving is not None and (failure := self._saving.exception()) is not None:
            error.add_note(f"step {self._saving_step} was not saved either: {cause(failure)}")

    def claim(self) -> None:
        """Save here as the one run that does: a save ends with a UserError once another claims."""
        owner = self._publisher.owner = Owner(self._folder)
        try:
            run_on_rank0(self._world, owner.claim)
        except OSError as error:
            raise UserError(
                f"{self._folder}: cannot be written: {cause(error)}; mend that"
            ) from error

    @property
    def failed(self) -> bool:
        """Whether a save in the background has failed; `wait` tells how."""
        return (
            self._saving is not None
            and self._saving.done()
            and self._saving.exception() is not None
        )

    @property
    def due(self) -> bool:
        """Whether checkpoint.minutes have gone by since the last whole one, by rank 0's clock."""
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
        delta: bool = False,
    ) -> None:
        """Save step `progress.step`, then drop old ones; in the background if so configured.

        With `delta` only what changed since the last whole one; a whole one where none is there.
        Waits for the save before. A step that is there already has its weights; only what is known
        of it is written again, at once.

        Raises UserError (disk full, no permission) on all ranks; nothing partial stays. That of a
        save in the background comes with the next call of `save` or `wait`.
        """
        self.wait()
        if not delta:
            self._last_save = time.monotonic()
        progress.world_size, progress.device = self._world.size, self._world.device.type
        if self._is_there(progress.step):
            self._on_disk(
                progress.step,
                lambda: run_on_rank0(self._world, lambda: self._publisher.note(progress)),
            )
            return
        self._saving_step = progress.step
        state = collect(model, optimizer, self._world)
        window: dict[str, Any] = {}
        progress.window = {}
        if windowed is not None:
            window, progress.window = collect_window(windowed, self._world)
        if delta and self._whole is not None and self._is_there(self._whole):
            assert self._host_copy.held is not None
            state = changed_rows(state, self._host_copy.held)
            writer = self._publisher.writer(progress, self._whole)
        else:
            self._last_save = time.monotonic()
            self._whole = None
            if self._config.checkpoint.asynchronous or self._config.checkpoint.incremental_every:
                state, self._whole_next = self._host_copy.copy(state), progress.step
            writer = self._publisher.writer(progress, None)
        state |= window
        if self._config.checkpoint.asynchronous:
            saving = async_save(
                state,
                storage_writer=writer,
                process_group=self._group,
                async_stager=Copied(),
            )
            assert isinstance(saving, Future)
            self._saving = saving
            return
        self._saving = Future()
        try:
            self._saving.set_result(
                dcp_save(state, storage_writer=writer, process_group=self._group)
            )
        except Exception as error:  # noqa: BLE001 (told by wait)
            self._saving.set_exception(error)
        self.wait()

    def wait(self) -> None:
        """Until the save under way, if any, is done. Raises UserError on all ranks if it failed."""
        saving, self._saving = self._saving, None
        if saving is not None:
            self._on_disk(self._saving_step, saving.result)
            if self._whole_next is not None:
                self._whole, self._whole_next = self._whole_next, None

    def load_latest(
        self,
        model: nn.Module,
        optimizer: CombinedOptimizer,
        windowed: WindowedMetrics | None = None,
    ) -> Progress | None:
        """Bring both back to the newest whole checkpoint; None if there is no checkpoint at all.

        Says which ones are damaged, and passes over them. UserError if none is whole.
        """
        progress, self._publisher.damaged = load_newest(
            self._folder,
            model,
            optimizer,
            self._world,
            self._config,
            self._schema,
            windowed,
        )
        return progress

    def _is_there(self, step: int) -> bool:
        """By rank 0's view of the folder (shared file systems show files late)."""
        there = is_finished(step_folder(self._folder, step)) and step not in self._publisher.damaged
        return bool(broadcast_from_rank0(self._world, there))

    def _on_disk(self, step: int, action: Any) -> None:
        """`action()`; what the disk or store has against it is a UserError on all ranks."""
        final = step_folder(self._folder, step)
        partial = self._publisher.partial(step)
        try:
            action()
        except (CheckpointException, OSError) as error:
            if not isinstance(origin(error), Exception):
                raise origin(error) from error  # Ctrl-C in a save is no fault of the disk
            free = broadcast_from_rank0(self._world, free_space(self._folder))
            told = UserError(
                f"{final}: not saved: {cause(error)}{free}; mend that, then go on with --resume"
            )
            run_on_rank0(self._world, lambda: _clear(partial))
            raise told from error


def _clear(partial: AnyPath) -> None:
    """What a failed save left; where nothing is renamed it may have failed once all was there."""
    if not is_finished(partial):
        remove_tree(partial, missing_ok=True)
