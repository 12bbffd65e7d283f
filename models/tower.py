"""The interface of a tower, the dense half of a ranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.layers.initialize import generator
from models.tasks import Task

TowerFactory = Callable[[int, Sequence[Task]], nn.Module]
"""(num_features F, tasks T) -> a tower: any nn.Module that maps [B, F] to logits [B, T].

Called under `torch.device("meta")`. `init_weights` initializes its weights; `auxiliary_loss`, if it
has one, adds a loss of its own; models.probe.Probed exposes its experts.
"""


def init_weights(tower: nn.Module, seed: int) -> None:
    """Initialize the weights of `tower` as a function of `seed` and of the names in it.

    Calls the tower's `init_weights(seed)` if it exists. Otherwise calls `reset_parameters()` of
    each module with parameters or buffers, as in torch.nn, with a random state drawn from `seed`
    and the module's name.

    Raises:
        ValueError: a module has neither method.
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


def auxiliary_loss(tower: nn.Module) -> Tensor | None:
    """Return the loss of its last forward pass that `tower` adds to the losses of the tasks.

    It is the scalar that the tower's `auxiliary_loss()` returns, None if there is no such method.
    Called once after every forward in training; micro-batches have a forward each. Training
    minimizes its mean over ranks and, weighted by rows, over micro-batches.
    """
    own = getattr(tower, "auxiliary_loss", None)
    if own is None:
        return None
    loss: Tensor = own()
    return loss
