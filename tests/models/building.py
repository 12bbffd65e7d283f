"""Small towers to test, and tasks for them."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.tasks import Task
from models.towers.adatt import AdaTT
from models.towers.config import HomeConfig, TowerConfig
from models.towers.home import HoME
from models.towers.mmoe import MMoE
from models.towers.ple import PLE
from models.towers.rankmixer import RankMixer
from models.towers.shared_bottom import SharedBottom
from models.towers.single_task import SingleTask
from models.towers.smes import SMES

Tower = TypeVar("Tower", bound=nn.Module)

SMALL = {"expert_hidden": (6,), "expert_dim": 5, "tower_hidden": (4,)}
NUM_FEATURES = 7

CLICK = Task(name="click", category="watch")
FINISH = Task(name="finish", category="watch")
LIKE = Task(name="like", category="interact")
FOLLOW = Task(name="follow", category="interact")
FORWARD = Task(name="forward", category="interact")
TASKS = (CLICK, LIKE, FINISH, FOLLOW, FORWARD)
"""Categories interleave on purpose."""


def small_home(**changes: object) -> HomeConfig:
    return HomeConfig.model_validate(SMALL | {"mask_rank": 3} | changes)


def build(
    config: TowerConfig,
    tasks: Sequence[Task] = TASKS,
    num_features: int = NUM_FEATURES,
) -> HoME | MMoE | PLE | AdaTT | SMES | RankMixer | SharedBottom | SingleTask:
    """In float64, at its initial weights."""
    tower = config.build(num_features=num_features, tasks=tasks)
    tower.init_weights(0)
    return tower.double()


@torch.no_grad()
def perturb(tower: Tower, seed: int = 0) -> Tower:
    """Moves weights and running statistics off their special initial values (0 and 1)."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*tower.parameters(), *tower.buffers()):
        noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
        tensor.add_(0.3 * noise)
    return tower


def rows(batch: int, num_features: int = NUM_FEATURES, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, num_features, generator=generator, dtype=torch.float64)
