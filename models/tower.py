"""The dense half of a ranker as the rest of the code knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from models.layers.initialise import generator
from models.tasks import Task

TowerFactory = Callable[[int, Sequence[Task]], nn.Module]
"""(num_features F, tasks T) -> a tower: any nn.Module that maps [B, F] to logits [B, T].

Called under `torch.device("meta")`. See `init_weights` for how its weights get their values, and
models.probe.Probed for how it shows its experts.
"""


def init_weights(tower: nn.Module, seed: int) -> None:
    """First weights of `tower`, a function of `seed` and of the names in it.

    A tower with a method `init_weights(seed)` fills itself. For any other one each module that
    holds parameters or buffers fills its own by `reset_parameters()`, as torch.nn's do, with a
    random state drawn from `seed` and the module's name.

    Raises:
        ValueError: a module has neither, and so no first values.
    """
    if callable(own := getattr(tower, "init_weights", None)):
        own(seed)
        return
    for name, module in tower.named_modules():
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if not tensors:
            continue
        if not callable(reset := getattr(module, "reset_parameters", None)):
            raise ValueError(
                f"{type(module).__name__} {name!r} has weights but no reset_parameters(); give it "
                "or the tower init_weights(seed)"
            )
        with torch.random.fork_rng():
            torch.manual_seed(generator(seed, name).initial_seed())
            reset()
