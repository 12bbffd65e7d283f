"""Random numbers whose only state is the number of draws."""

import torch
from torch import Tensor, nn

from models.layers.initialize import generator


class Draws(nn.Module):
    """Draws random numbers as a function of seed, name and the number of the draw.

    They are equal on all ranks, and after a resume.
    """

    count: Tensor

    def __init__(self, seed: int, name: str) -> None:
        super().__init__()
        self._seed = seed
        self._name = name
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device="cpu"))

    def uniform(self, *shape: int) -> Tensor:
        """Return the next draw: numbers in [0, 1), on the CPU."""
        source = generator(self._seed, f"{self._name}/{int(self.count)}")
        self.count += 1
        return torch.rand(shape, generator=source, device="cpu")
