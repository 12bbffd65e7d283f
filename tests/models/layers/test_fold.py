"""Folding BatchNorms away."""

import copy

import pytest
import torch

from models.layers.fold import folded
from models.layers.norm import BatchNorm
from models.towers.config import HomeConfig, MmoeConfig
from tests.models.building import SMALL, build, perturb, rows, small_home


@pytest.mark.parametrize(
    "config",
    [
        small_home(),
        small_home(feature_gate_1=False, activation="relu"),
        MmoeConfig.model_validate(SMALL | {"normalization": "batch"}),
        small_home(normalization="layer"),
    ],
    ids=["home", "home, ReLU", "mmoe", "nothing to fold"],
)
def test_folded_tower_is_the_same_function(config: HomeConfig | MmoeConfig) -> None:
    tower = perturb(build(config))
    for seed in range(3):
        tower(rows(20, seed=seed))  # so that running statistics are those of data
    before = copy.deepcopy(tower.state_dict())
    plain = folded(tower)
    assert not any(isinstance(module, BatchNorm) for module in plain.modules())
    assert not plain.training
    assert tower.training
    torch.testing.assert_close(tower.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(plain(rows(9)), tower.eval()(rows(9)))
