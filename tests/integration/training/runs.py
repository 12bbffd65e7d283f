"""`homerec train debug` on ranks that are up, and what it saved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.checkpoint.layout import saved_steps
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.overrides import configure
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.train import train
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features

_FIELDS = ["--train.max_steps", "8", "--train.eval_every", "5", "--train.batch_size", "256"]
# A resume must bring back the random state of each rank, too.
DROPOUT = ["--model.tower.dropout", "0.1"]


def run(
    rank: int,
    size: int,
    data: Path,
    out: Path,
    words: list[str],
    resume: bool | Literal["auto"] = False,
) -> Any:
    """`homerec train debug` on ranks that are up; the exit code, or the user's error."""
    fields = ["--data.path", str(data), *_FIELDS, *words]
    try:
        words = words if resume else fields
        config, out = configure(
            "debug", None, out, words, resume=bool(resume), must_exist=resume is True
        )
        return train(config, out, this_world(), resume=resume, overwrite=False)
    except UserError as error:
        return str(error)


def evaluated(rank: int, size: int, checkpoint: Path) -> Any:
    return evaluate_checkpoint(checkpoint, "val", None, this_world())[0]


def tensors(checkpoint: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, both optimizers' included, put together from its shards."""
    whole = folder / f"{checkpoint.parent.parent.name}.pt"
    dcp_to_torch_save(checkpoint, whole)
    found: dict[str, torch.Tensor] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                collect(f"{name}/{key}", part)

    collect("", torch.load(whole, weights_only=False))
    return found


def copy_killed_after(step: int, run: Path, out: Path) -> Path:
    """A copy of a run, in `out`, as if it had been killed before the first save after `step`."""
    shutil.copytree(run, out)
    later = [found for found in saved_steps(out / "checkpoints") if found > step]
    assert later
    for found in later:
        shutil.rmtree(out / "checkpoints" / f"step-{found:08d}")
    return out


def saved_again(rank: int, size: int, run_folder: Path, out: Path) -> Any:
    """Load a run's newest checkpoint on these ranks, and save what was loaded."""
    world = this_world()
    config = Config.load(run_folder / "config.json")
    schema = Schema.load(config.data.path)
    _, parallel = build(config, resolve_features(config, schema), world)
    loaded = Checkpoints(run_folder / "checkpoints", world, config, schema)
    progress = loaded.load_latest(parallel.model, parallel.optimizer)
    assert progress is not None
    again = Checkpoints(out / "checkpoints", world, config, schema)
    again.save(parallel.model, parallel.optimizer, progress)
    again.wait()
    return progress.step
