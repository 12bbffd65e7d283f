"""Soft masks on an expert's input."""

import torch

from models.layers.feature_gates import FeatureGates
from tests.models.building import NUM_FEATURES, perturb, rows


def gates() -> FeatureGates:
    result = FeatureGates(["a", "b"], NUM_FEATURES, num_masks=3, rank=2)
    result.init_weights(0)
    return result.double()


def test_masks_are_one_at_the_start() -> None:
    x = rows(20)
    torch.testing.assert_close(gates()(x), torch.stack([x, x]))


def test_masks_lie_between_zero_and_two() -> None:
    wild = gates()
    for parameter in wild.parameters():
        parameter.data.mul_(0).add_(
            torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        )
    x = 5.0 * rows(200)
    masks = wild(x) / x
    assert masks.min() >= 0
    assert masks.max() <= 2
    # Both ends are reached.
    assert masks.min() < 0.1
    assert masks.max() > 1.9


def test_each_expert_has_its_own_mask() -> None:
    x = rows(20)
    first, second = perturb(gates())(x)
    assert not torch.allclose(first, second)


def test_learning_starts_although_masks_are_flat() -> None:
    """A, at zero, has a gradient; B, behind it, will have one after the first step."""
    fresh = gates()
    fresh(rows(20)).square().sum().backward()
    assert fresh.up.grad is not None
    assert (fresh.up.grad.flatten(2).norm(dim=-1) > 0).all()
