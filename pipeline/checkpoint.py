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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.config import Config
from pipeline.data.schema import Schema
from pipeline.distributed import World, agreed, on_first
from pipeline.errors import UserError
from pipeline.files import read_json, write_json

_STEP = "step-"


def lower_is_better(select: str) -> bool:
    """Whether a TASK/FIGURE counts a loss."""
    return select.endswith(("/ne", "/log_loss"))


@dataclass(kw_only=True)
class Progress:
    """Where a run stands, the same on every rank."""

    step: int = 0
    world_size: int = 0
    device: str = "cpu"
    """Kind of device of the ranks that saved, whose random states are there."""
    source: dict[str, Any] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    """What training remembers of the last looks at the experts (see TrainingHealth)."""
    evaluated_step: int = 0
    select: str = "mean/auc"
    best_step: int | None = None
    best_value: float | None = None
    evaluations_without_better: int = 0

    def note(self, value: float | None) -> bool:
        """Count an evaluation of this step, `value` being its `select`; whether it is the best."""
        self.evaluated_step = self.step
        lower = lower_is_better(self.select)
        best = self.best_value
        # The first one stands even if undefined: a run has a result, and a checkpoint to name.
        better = self.best_step is None or (
            value is not None and (best is None or (value < best if lower else value > best))
        )
        self.evaluations_without_better = 0 if better else self.evaluations_without_better + 1
        if better:
            self.best_step, self.best_value = self.step, value
        return better

    def selecting(self, select: str) -> Progress:
        """The same place, judged by `select`: values of another figure mean nothing to it."""
        return self if select == self.select else replace(self._unjudged(), select=select)

    def with_best_among(self, steps: list[int]) -> Progress:
        """The same place; a best checkpoint that somebody has taken away is the best no more."""
        return self if self.best_step in (None, *steps) else self._unjudged()

    def _unjudged(self) -> Progress:
        """As if it had never been evaluated: the next evaluation stands, and this step's is due."""
        return replace(
            self,
            evaluated_step=0,
            best_step=None,
            best_value=None,
            evaluations_without_better=0,
        )


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
        there = self._agreed(_is_whole(final))
        partial = self._folder / f".{final.name}.partial"
        try:
            if there:
                on_first(self._world, lambda: self._note(final, progress))
                return
            on_first(self._world, lambda: self._begin(partial))
            dcp_save(
                _state(model, optimizer, self._world),
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
        _initialise_state(optimizer)
        state = _state(model, optimizer, self._world)
        if self._world.rank >= progress.world_size:
            del state["random"]  # a rank that was not there has none to go on with
        elif self._world.device.type != progress.device:
            state["random"] = _random_state(self._world, "cpu")
        _load(state, folder, self._world)
        optimizer.load_state_dict(state["optimizer"])
        if "random" in state:
            _set_random_state(state["random"], self._world)
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
        for leftover in self._folder.glob(f".{_STEP}*"):
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


def step_folder(folder: Path, step: int) -> Path:
    """Of the checkpoint after `step` in a run's `checkpoints` folder."""
    return folder / f"{_STEP}{step:08d}"


def saved_steps(folder: Path) -> list[int]:
    """Steps with a whole checkpoint in a run's `checkpoints` folder, oldest first."""
    names = (path.name for path in folder.glob(f"{_STEP}*") if _is_whole(path))
    return sorted(int(name.removeprefix(_STEP)) for name in names)


def _is_whole(folder: Path) -> bool:
    """A checkpoint, and not what somebody left of one: .metadata says where its tensors are."""
    return all((folder / name).is_file() for name in ("meta.json", ".metadata"))


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder: itself, or of a run (or its `checkpoints`) the best, else the newest.

    UserError if there is none.
    """
    if _is_whole(path):
        return path
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    steps = saved_steps(folder) if folder.is_dir() else []
    if not steps:
        raise UserError(
            f"{path}: no checkpoint here; name a run's folder (runs/NAME) or one of its "
            "checkpoints (runs/NAME/checkpoints/step-...)"
        )
    best = folder / "best.json"
    step = steps[-1]
    if best.is_file():
        remedy = "remove it, and the newest checkpoint is taken"
        step = read_json(best, needs=("step",), remedy=remedy)["step"]
    return step_folder(folder, step if step in steps else steps[-1])


def load_model(folder: Path, model: nn.Module, world: World) -> None:
    """Only the weights, under whatever plan `model` has. Every rank must call this."""
    _load({"model": model.state_dict()}, folder, world)


def _state(model: nn.Module, optimizer: CombinedOptimizer, world: World) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": _random_state(world, world.device.type),
    }


def _random_state(world: World, device: str) -> dict[str, torch.Tensor]:
    """This rank's generators': the CPU's, and CUDA's where that is the device."""
    found = {str(world.rank): torch.get_rng_state()}
    if device == "cuda":  # no GPU has run this yet
        found[f"cuda{world.rank}"] = torch.cuda.get_rng_state(world.device)
    return found


def _set_random_state(state: dict[str, torch.Tensor], world: World) -> None:
    torch.set_rng_state(state[str(world.rank)])
    if (of_cuda := state.get(f"cuda{world.rank}")) is not None:  # no GPU has run this yet
        torch.cuda.set_rng_state(of_cuda, world.device)


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


def _initialise_state(optimizer: CombinedOptimizer) -> None:
    """Let lazy optimizers (AdamW) make their state, so that it can be loaded in place."""
    for name, part in optimizer.optimizers:
        if name == "dense":
            part.init_state()
            part.zero_grad(set_to_none=True)


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
