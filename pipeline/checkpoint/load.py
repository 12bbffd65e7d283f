"""Verifies checkpoints and loads them into a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.incremental import open_reader
from pipeline.checkpoint.layout import named_steps, step_folder
from pipeline.checkpoint.manifest import NAME, CorruptError
from pipeline.checkpoint.progress import Progress, read_progress
from pipeline.checkpoint.run_state import empty_state_dict, load_state_dict
from pipeline.checkpoint.table_state import TablesLoader
from pipeline.checkpoint.verify import find_damage_on_ranks
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.coordinate import broadcast_from_rank0, gather_or_raise
from pipeline.ranks.world import World


def load_newest(
    folder: AnyPath,
    model: nn.Module,
    optimizer: CombinedOptimizer,
    world: World,
    config: Config,
    schema: Schema,
    windowed: WindowedMetrics | None = None,
) -> tuple[Progress | None, list[int]]:
    """Load the newest valid checkpoint in `folder` into model, optimizer and `windowed`.

    Corrupt checkpoints are skipped, with a line on the console. Collective.

    Returns:
        The progress of the checkpoint (None if there is none), and the corrupt steps.

    Raises:
        UserError: there are checkpoints, but none is valid.
    """
    steps, corrupt = broadcast_from_rank0(world, named_steps(folder)), {}
    for step in reversed(steps):
        place = step_folder(folder, step)
        if (problem := find_damage_on_ranks(place, world)) is None:
            break
        corrupt[step] = problem
    else:
        # Object stores cannot rename, so an unfinished save looks like a checkpoint there.
        in_store = not isinstance(folder, Path)
        if not steps or (in_store and not any(_has_manifest(folder, step) for step in steps)):
            return None, steps
        listed = "; ".join(f"step {step}: {problem}" for step, problem in corrupt.items())
        raise UserError(
            f"{folder}: no checkpoint here is valid ({listed}); repair one, or start again with "
            "--overwrite"
        )
    if world.is_first:
        for broken, problem in corrupt.items():
            line = f"checkpoint of step {broken} skipped: {problem}; resuming from step {step}"
            print_line(plain_console(), line)
    progress = gather_or_raise(world, lambda: _read(place, config, schema))
    judged = [
        step
        for step in steps
        if step not in corrupt and (step_folder(folder, step) / "results.json").is_file()
    ]
    progress = progress.with_best_among(broadcast_from_rank0(world, judged))
    tables = TablesLoader(model, optimizer)
    with _load_errors(place):
        state = empty_state_dict(model, optimizer, world, progress, windowed)
        _load(state, place, world, tables)
        tables.finish()

    def apply() -> None:
        with _load_errors(place):
            load_state_dict(state, optimizer, world, progress, windowed)

    gather_or_raise(world, apply)
    return progress, list(corrupt)


def load_model(folder: AnyPath, model: nn.Module, world: World) -> None:
    """Load only the weights, with any plan of `model`. Collective.

    Raises UserError if the checkpoint is corrupt or from another model.
    """
    if (problem := find_damage_on_ranks(folder, world)) is not None:
        raise UserError(f"{folder}: {problem}; give another checkpoint of the run")
    with _load_errors(folder):
        _load({"model": model.state_dict()}, folder, world, DefaultLoadPlanner())


def cause(error: BaseException) -> str:
    """Return the first line of the original error behind a distributed one."""
    error = origin(error)
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def origin(error: BaseException) -> BaseException:
    """Return the original exception behind `error`, of any rank."""
    while isinstance(error, CheckpointException) and error.failures:
        first = next(iter(error.failures.values()))
        error = first[0] if isinstance(first, tuple) else first
    while error.__cause__ is not None and not isinstance(error, CorruptError):
        error = error.__cause__
    return error


def _has_manifest(folder: AnyPath, step: int) -> bool:
    return (step_folder(folder, step) / NAME).is_file()


def _read(folder: AnyPath, config: Config, schema: Schema) -> Progress:
    """Return the progress of the checkpoint. Raises UserError if it was trained on other data."""
    trained = Schema.load(folder)
    for part in ("tables", "sparse", "dense", "labels", "program"):
        if getattr(trained, part) != getattr(schema, part):
            raise UserError(
                f"{folder}: was trained on data whose {part} differ from those of "
                f"{config.data.path}, so ids or columns would have other meanings; resume "
                "with the original data folder"
            )
    if config.train.ema_decay and not Config.load(folder / "config.json").train.ema_decay:
        raise UserError(
            f"{folder}: was trained without train.ema_decay, which cannot be enabled in the middle "
            "of a run; resume with --train.ema_decay 0, or start a new run"
        )
    try:
        return read_progress(folder)
    except CorruptError as error:
        raise UserError(
            f"{folder}: {error}; remove it to resume from the previous checkpoint"
        ) from error


def _load(state: dict[str, Any], folder: AnyPath, world: World, planner: LoadPlanner) -> None:
    """Load in place."""
    reader = open_reader(folder)
    dcp_load(state, storage_reader=reader, planner=planner, process_group=world.control)


@contextmanager
def _load_errors(folder: AnyPath) -> Iterator[None]:
    """Raise UserError if the checkpoint in `folder` is from another model, or cannot be read."""
    try:
        yield
    except (CheckpointException, CorruptError, OSError, ValueError, RuntimeError) as error:
        reason = origin(error)
        if not isinstance(reason, Exception):
            raise reason from error  # a signal
        if isinstance(reason, CorruptError):
            raise UserError(f"{folder}: {reason}; load another checkpoint of the run") from error
        if isinstance(reason, OSError):
            raise UserError(
                f"{folder}: cannot be read: {cause(error)}; fix this, then try again"
            ) from error
        raise UserError(
            f"{folder}: cannot be loaded: {cause(error)}; it is from another model: remove it to "
            "resume from the previous checkpoint"
        ) from error
