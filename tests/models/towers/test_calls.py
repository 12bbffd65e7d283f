"""How many operations a step takes: not one more for more rows, experts or tasks."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.layers.fused.kernels import compiled
from models.tasks import Task
from models.towers.config import HomeConfig, MmoeConfig
from tests.models.building import NUM_FEATURES


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def calls(kind: type[HomeConfig | MmoeConfig], size: int) -> int:
    tasks = [Task(name=f"t{i}", category=f"c{i % 2}") for i in range(2 * size)]
    tower = kind(expert_dim=64, expert_hidden=(64,)).build(num_features=NUM_FEATURES, tasks=tasks)
    tower.init_weights(0)
    v = torch.randn(500 * size, NUM_FEATURES, requires_grad=True)
    tower(v)  # copies what does not change
    with Calls() as counted:  # type: ignore[no-untyped-call]
        tower(v).sum().backward()
    return counted.count


@pytest.mark.skipif(compiled() is None, reason="without compiled kernels chunks of rows are calls")
@pytest.mark.parametrize("kind", [HomeConfig, MmoeConfig])
def test_calls_do_not_grow(kind: type[HomeConfig | MmoeConfig]) -> None:
    assert calls(kind, 2) == calls(kind, 8)
