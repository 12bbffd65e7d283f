"""Checkpoints: everything a run needs to go on as if it had never stopped.

    checkpoints/step-00000120/   torch.distributed.checkpoint's files, and beside them
        config.json  schema.json  the run's tree and the data's schema, to rebuild the model
        meta.json                 step, data position, best figure so far
        results.json  health.json what its evaluation gave, if it was the best so far
    checkpoints/best.json        {"step": ..., "value": ...}

A save writes into a folder whose name begins with a dot and renames it when every rank is done:
whatever dies on the way leaves the last good checkpoint as it was.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint_folder import is_whole, saved_steps, step_folder
from pipeline.config import Config
from pipeline.data.schema import Schema
from pipeline.distributed import World, agreed, on_first
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.run_progress import Progress
from pipeline.run_state import collect, collect_for, put_back


class Checkpoints:
    """Saves to, prunes, and loads from one run's folder. Every rank must call each method."""

    def __init__(self, folder: Path, world: World, config: Config, schema: Schema) -> None:
        self._folder = folder
        self._world = world
        self._config = config
        self._schema = schema

    def save(self, model: nn.Module, optimizer: CombinedOptimizer, progress: Progress) -> None:
        """Write step `progress.step`, then drop old ones.

        A step that is there already has its weights; only what is known of it is written again.

        Raises UserError (disk full, no permission) on all ranks; nothing partial stays.
        """
        progress.world_size, progress.device = self._world.size, self._world.device.type
        final = step_folder(self._folder, progress.step)
        there = self._agreed(is_whole(final))
        partial = self._folder / f".{final.name}.partial"
        try:
            if there:
                on_first(self._world, lambda: self._note(final, progress))
                return
            on_first(self._world, lambda: self._begin(partial))
            dcp_save(
                collect(model, optimizer, self._world),
                checkpoint_id=partial,
                process_group=self._world.control,
            )
            on_first(self._world, lambda: self._finish(partial, final, progress))
        except (CheckpointException, OSError) as error:
            on_first(self._world, lambda: shutil.rmtree(partial, ignore_errors=True))
            free = shutil.disk_usage(self._folder).free
            raise UserError(
                f"{final}: not saved: {_cause(error)} ({free / 1e6:,.0f} MB free there); "
                "mend that, then go on with --resume"
            ) from error

    def load_latest(self, model: nn.Module, optimizer: CombinedOptimizer) -> Progress | None:
        """Bring both back to the newest checkpoint; None if there is none."""
        steps = self._agreed(saved_steps(self._folder))
        if not steps:
            return None
        folder = step_folder(self._folder, steps[-1])
        progress = agreed(self._world, lambda: self._read(folder))
        judged = [
            step for step in steps if (step_folder(self._folder, step) / "results.json").is_file()
        ]
        progress = progress.with_best_among(self._agreed(judged))
        state = collect_for(model, optimizer, self._world, progress)
        _load(state, folder, self._world)
        put_back(state, optimizer, self._world)
        return progress

    def _agreed(self, value: Any) -> Any:
        """Rank 0's view of the folder, on every rank (shared file systems show files late)."""
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, group=self._world.control)
        return box[0]

    def _read(self, folder: Path) -> Progress:
        """Where the checkpoint stands. UserError if it was trained on other data."""
        trained = Schema.load(folder)
        ours = self._schema
        for part in ("tables", "sparse", "dense", "labels"):
            if getattr(trained, part) != getattr(ours, part):
                raise UserError(
                    f"{folder}: was trained on data whose {part} are not those of "
                    f"{self._config.data.path}: ids or columns would mean other things; resume "
                    "with the folder the run began with"
                )
        if self._config.train.average and not Config.load(folder / "config.json").train.average:
            raise UserError(
                f"{folder}: was trained without train.average, which cannot begin in the middle of "
                "a run; resume with --train.average 0, or begin a new run"
            )
        path = folder / "meta.json"
        remedy = f"remove {folder} to go on from the one before"
        found = read_json(path, needs=("step", "world_size", "source"), remedy=remedy)
        try:
            return Progress(**found)
        except TypeError as error:
            raise UserError(f"{path}: damaged ({error}); {remedy}") from error

    def _begin(self, partial: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(".step-*"):
            shutil.rmtree(leftover)
        partial.mkdir()

    def _finish(self, partial: Path, final: Path, progress: Progress) -> None:
        shutil.rmtree(final, ignore_errors=True)  # one that is not whole would be in the way
        self._config.save(partial / "config.json")
        self._schema.save(partial)
        write_json(partial / "meta.json", asdict(progress))
        os.rename(partial, final)
        _sync(self._folder)
        self._prune(progress)

    def _note(self, final: Path, progress: Progress) -> None:
        # meta.json last: a kill before it, and the evaluation is done again when the run goes on.
        if progress.best_step is not None:
            best = {"step": progress.best_step, "value": progress.best_value}
            write_json(self._folder / "best.json", best)
        write_json(final / "meta.json", asdict(progress))
        self._prune(progress)

    def _prune(self, progress: Progress) -> None:
        for step in saved_steps(self._folder)[: -self._config.checkpoint.keep]:
            if step != progress.best_step:
                # Out of sight first: a kill half way must not leave what looks whole.
                old = step_folder(self._folder, step)
                hidden = old.rename(self._folder / f".{old.name}.old")
                shutil.rmtree(hidden)


def load_model(folder: Path, model: nn.Module, world: World) -> None:
    """Only the weights, under whatever plan `model` has. Every rank must call this."""
    _load({"model": model.state_dict()}, folder, world)


def _load(state: dict[str, Any], folder: Path, world: World) -> None:
    """In place. UserError if the checkpoint is damaged or is another model's."""
    agreed(world, lambda: _check_metadata(folder))
    try:
        dcp_load(state, checkpoint_id=folder, process_group=world.control)
    except (CheckpointException, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder}: cannot be loaded: {_cause(error)}; it is damaged, or of another "
            "model or kind of sharding: remove it to go on from the one before"
        ) from error


def _check_metadata(folder: Path) -> None:
    """UserError if .metadata cannot be read: torch would log two tracebacks before it says so."""
    try:
        FileSystemReader(folder).read_metadata()
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{folder / '.metadata'}: damaged ({_cause(error)}); remove {folder} to go on from the "
            "one before"
        ) from error


def _cause(error: BaseException) -> str:
    """The one line that says why, out of a distributed error's report."""
    while isinstance(error, CheckpointException) and error.failures:
        first = next(iter(error.failures.values()))
        error = first[0] if isinstance(first, tuple) else first
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
