"""Simulates rows of tasks whose true probabilities are known, with dense inputs only.

Inputs are Gaussian, so that towers differ only in the dense half, and need no tables.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.layers.initialize import generator
from pipeline.experiments.map.dials import Dials

NUM_FEATURES = 12
_PRODUCTS = 2
"""Products of two saturated directions in the nonlinear part of a function."""
_CALIBRATION_ROWS = 32_768
_HALVINGS = 40


class Draw(NamedTuple):
    """Rows of a world: inputs [N, F], true logits [N, T] in float64, labels [N, T]."""

    x_NF: Tensor
    logits_NT: Tensor
    labels_NT: Tensor


class DenseWorld:
    """The world of some dials. Two worlds with equal dials and seed are equal.

    Functions: one per task, then the category functions of 'watch' and of what 'interact' has
    beyond it; K in all.
    """

    def __init__(self, dials: Dials, seed: int) -> None:
        self.dials = dials
        self._seed = seed
        random = self._generator("functions")
        num_functions = dials.tasks + 2
        self._linear_FK = _directions(random, num_functions)
        self._left_PFK, self._right_PFK = (
            torch.stack([_directions(random, num_functions) for _ in range(_PRODUCTS)])
            for _ in range(2)
        )
        self._weight_KT = self._weights()
        x_NF = self._inputs(_CALIBRATION_ROWS, self._generator("calibration"))
        raw_NK = self._nonlinear(x_NF)
        self._mean_K, self._scale_K = raw_NK.mean(0), raw_NK.std(0)
        self._bias_T = _bias(self._signal(x_NF), torch.tensor(dials.rates).double())

    def draw(self, rows: int, split: str) -> Draw:
        """Draw rows of a split; the same name gives the same rows."""
        random = self._generator(split)
        x_NF = self._inputs(rows, random)
        logits_NT = self._bias_T + self._signal(x_NF)
        uniform_NT = torch.rand(logits_NT.shape, generator=random, dtype=torch.float64)
        return Draw(x_NF, logits_NT, (uniform_NT < logits_NT.sigmoid()).float())

    def _generator(self, stream: str) -> torch.Generator:
        return generator(self._seed, f"map.{stream}")

    @staticmethod
    def _inputs(rows: int, random: torch.Generator) -> Tensor:
        return torch.randn(rows, NUM_FEATURES, generator=random)

    def _weights(self) -> Tensor:
        """Return the weights of the functions in the tasks' logits, [K, T]."""
        dials = self.dials
        rows = [torch.eye(dials.tasks).double() * (1 - dials.shared) ** 0.5]
        is_watch_T = torch.tensor([task.category == "watch" for task in dials.task_list])
        rho = dials.conflict
        first_T = torch.where(is_watch_T, 1.0, rho).double()
        second_T = torch.where(is_watch_T, 0.0, (1 - rho**2) ** 0.5).double()
        rows.append(torch.stack([first_T, second_T]) * dials.shared**0.5)
        return dials.signal * torch.cat(rows)

    def _nonlinear(self, x_NF: Tensor) -> Tensor:
        products = [
            (x_NF @ left_FK).tanh() * (x_NF @ right_FK).tanh()
            for left_FK, right_FK in zip(self._left_PFK, self._right_PFK, strict=True)
        ]
        return torch.stack(products).sum(0).double()

    def _signal(self, x_NF: Tensor) -> Tensor:
        """Return the logits without biases, [N, T]."""
        share = self.dials.nonlinear
        bent_NK = (self._nonlinear(x_NF) - self._mean_K) / self._scale_K
        f_NK = (1 - share) ** 0.5 * (x_NF @ self._linear_FK).double() + share**0.5 * bent_NK
        return f_NK @ self._weight_KT


def _directions(random: torch.Generator, number: int) -> Tensor:
    """Return random unit vectors, [F, number]."""
    found_FK = torch.randn(NUM_FEATURES, number, generator=random)
    return found_FK / found_FK.norm(dim=0)


def _bias(signal_NT: Tensor, rates_T: Tensor) -> Tensor:
    """Find the biases [T] at which the mean probabilities are `rates_T`, by bisection."""
    low_T, high_T = torch.full_like(rates_T, -40.0), torch.full_like(rates_T, 40.0)
    for _ in range(_HALVINGS):
        middle_T = (low_T + high_T) / 2
        is_low_T = (signal_NT + middle_T).sigmoid().mean(0) < rates_T
        low_T, high_T = (
            torch.where(is_low_T, middle_T, low_T),
            torch.where(is_low_T, high_T, middle_T),
        )
    return (low_T + high_T) / 2
