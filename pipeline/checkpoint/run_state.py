"""The tensors of a run: what a checkpoint saves of it, and how they come back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchrec.optim.keyed import CombinedOptimizer

from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.table_state import table_state
from pipeline.metrics.windowed import WindowedMetrics
from pipeline.ranks.world import World
from pipeline.training.parallelize import tower_optimizer


def collect(model: nn.Module, optimizer: CombinedOptimizer, world: World) -> dict[str, Any]:
    """All of a rank's tensors that its steps go on from, for DCP. Views, no copies."""
    return {
        "model": model.state_dict(),
        "optimizer": tower_optimizer(optimizer).state_dict(),
        "tables": table_state(model, optimizer),
        "random": random_state(world, world.device.type),
    }


def collect_window(
    windowed: WindowedMetrics, world: World
) -> tuple[dict[str, Any], dict[str, int]]:
    """A rank's part of the window of training figures, for DCP, and what else there is to know.

    Copies, of any shape; nothing where it holds no rows.
    """
    tensors, told = windowed.held()
    return ({"window": {str(world.rank): tensors}}, told) if told["rows"] else ({}, {})


def collect_for(
    model: nn.Module,
    optimizer: CombinedOptimizer,
    world: World,
    progress: Progress,
    windowed: WindowedMetrics | None = None,
) -> dict[str, Any]:
    """What `collect` gives, to load in place what was saved at `progress`, on any ranks.

    But for the tables' optimizer state, whose form in a checkpoint hangs on the plan: that is
    TablesLoader's.
    """
    initialise(optimizer)
    state = collect(model, optimizer, world)
    del state["tables"]
    if windowed is not None and progress.window:
        ranks = map(str, range(progress.world_size))
        state["window"] = {rank: windowed.empty(progress.window) for rank in ranks}
    if world.rank >= progress.world_size:
        del state["random"]  # a rank that was not there has none to go on with
    elif world.device.type != progress.device:
        state["random"] = random_state(world, "cpu")
    return state


def put_back(
    state: dict[str, Any],
    optimizer: CombinedOptimizer,
    world: World,
    progress: Progress,
    windowed: WindowedMetrics | None = None,
) -> None:
    """What loading in place leaves to do, once `state` (of `collect_for`) holds what was saved."""
    if windowed is not None and "window" in state:
        ranks = [state["window"][str(rank)] for rank in range(progress.world_size)]
        windowed.put_back(ranks, progress.window)
    tower_optimizer(optimizer).load_state_dict(state["optimizer"])
    if "random" in state:
        set_random_state(state["random"], world)


def random_state(world: World, device: str) -> dict[str, torch.Tensor]:
    """This rank's generators': the CPU's, and CUDA's where that is the device."""
    found = {str(world.rank): torch.get_rng_state()}
    if device == "cuda":  # no GPU has run this yet
        found[f"cuda{world.rank}"] = torch.cuda.get_rng_state(world.device)
    return found


def set_random_state(state: dict[str, torch.Tensor], world: World) -> None:
    torch.set_rng_state(state[str(world.rank)])
    if (of_cuda := state.get(f"cuda{world.rank}")) is not None:  # no GPU has run this yet
        torch.cuda.set_rng_state(of_cuda, world.device)


def initialise(optimizer: CombinedOptimizer) -> None:
    """Let lazy optimizers (AdamW) make their state, so that it can be loaded in place."""
    tower = tower_optimizer(optimizer)
    tower.init_state()
    tower.zero_grad(set_to_none=True)
