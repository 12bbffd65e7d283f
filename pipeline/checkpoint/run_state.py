"""State dict of a run: the tensors of a checkpoint, and loading them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.manifest import CorruptError
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.table_state import table_state
from pipeline.io.typed_json import LIMIT
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.world import World
from pipeline.training.parallelize import tower_optimizer


def state_dict(model: nn.Module, optimizer: CombinedOptimizer, world: World) -> dict[str, Any]:
    """Return all tensors of a rank that training resumes from, for DCP. Views, not copies."""
    return {
        "model": model.state_dict(),
        "optimizer": tower_optimizer(optimizer).state_dict(),
        "tables": table_state(model, optimizer),
        "random": random_state(world, world.device.type),
    }


def window_state_dict(
    windowed: WindowedMetrics, world: World
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return a rank's rows of the window of training metrics, for DCP, and the window's counters.

    Both are empty if the window has no rows. Tensors are copies; their shapes differ between saves.
    """
    tensors, counts = windowed.state_dict()
    return ({"window": {str(world.rank): tensors}}, counts) if counts["rows"] else ({}, {})


def empty_state_dict(
    model: nn.Module,
    optimizer: CombinedOptimizer,
    world: World,
    progress: Progress,
    windowed: WindowedMetrics | None = None,
) -> dict[str, Any]:
    """Return a state dict for loading the checkpoint of `progress` in place, on any ranks.

    It lacks the optimizer state of tables, whose shape depends on the saved plan: see TablesLoader.
    """
    initialize(optimizer)
    state = state_dict(model, optimizer, world)
    del state["tables"]
    if windowed is not None and progress.window:
        ranks = map(str, range(progress.world_size))
        state["window"] = {rank: windowed.empty(progress.window) for rank in ranks}
    if world.rank >= progress.world_size:
        del state["random"]  # a new rank has no saved random state
    elif world.device.type != progress.device:
        state["random"] = random_state(world, "cpu")
    return state


def load_state_dict(
    state: dict[str, Any],
    optimizer: CombinedOptimizer,
    world: World,
    progress: Progress,
    windowed: WindowedMetrics | None = None,
) -> None:
    """Apply the parts of a loaded `state` (of `empty_state_dict`) that are not loaded in place.

    Raises CorruptError for values that no run saves.
    """
    if windowed is not None and "window" in state:
        ranks = [state["window"][str(rank)] for rank in range(progress.world_size)]
        windowed.load_state_dict(ranks, progress.window)
    for name, of_parameter in state["optimizer"]["state"].items():
        steps = float(of_parameter["step"])
        if not 0 <= steps < LIMIT:
            raise CorruptError(f"the optimizer of {name} has done {steps:g} steps")
    tower_optimizer(optimizer).load_state_dict(state["optimizer"])
    if "random" in state:
        set_random_state(state["random"], world)


def random_state(world: World, device: str) -> dict[str, torch.Tensor]:
    """Return the states of this rank's CPU generator and, on CUDA devices, CUDA generator."""
    found = {str(world.rank): torch.get_rng_state()}
    if device == "cuda":  # not tested on GPUs yet
        found[f"cuda{world.rank}"] = torch.cuda.get_rng_state(world.device)
    return found


def set_random_state(state: dict[str, torch.Tensor], world: World) -> None:
    """Raises CorruptError."""
    try:
        torch.set_rng_state(state[str(world.rank)])
    except RuntimeError as error:
        raise CorruptError(f"the random state of rank {world.rank} is invalid") from error
    if (of_cuda := state.get(f"cuda{world.rank}")) is not None:  # not tested on GPUs yet
        torch.cuda.set_rng_state(of_cuda, world.device)


def initialize(optimizer: CombinedOptimizer) -> None:
    """Create the state of lazy optimizers (AdamW), so that it can be loaded in place."""
    tower = tower_optimizer(optimizer)
    tower.init_state()
    tower.zero_grad(set_to_none=True)
