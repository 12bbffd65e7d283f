"""Every tower on a GPU. Needs torch, pydantic and pytest alone. No GPU has run it yet."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from models.tasks import Task
from models.towers.config import HomeConfig, TowerConfig
from tests.models.building import TASKS, build, perturb, rows
from tests.models.towers.configurations import CONFIGS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

each_tower = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def training_step(tower: nn.Module, v: Tensor, dlogits: Tensor) -> Callable[[], list[Tensor]]:
    """Logits and gradients, with `tower` as it was; all tensors are made beforehand."""

    def step() -> list[Tensor]:
        tower.zero_grad()
        v.grad = None
        logits = tower(v)
        logits.backward(dlogits)
        assert v.grad is not None
        return [
            logits.detach(),
            v.grad,
            *(p.grad for p in tower.parameters() if p.grad is not None),
        ]

    return step


def on(device: str, tower: nn.Module, batch: int) -> Callable[[], list[Tensor]]:
    dtype = next(tower.parameters()).dtype
    tower = copy.deepcopy(tower).to(device)
    v = rows(batch).to(device, dtype).requires_grad_()
    dlogits = rows(batch, len(TASKS), seed=1).to(device, dtype)
    return training_step(tower, v, dlogits)


@contextmanager
def every_wait_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@each_tower
def test_a_gpu_computes_what_a_cpu_does(config: TowerConfig) -> None:
    tower = perturb(build(config))
    torch.testing.assert_close(on("cuda", tower, 40)(), on("cpu", tower, 40)(), check_device=False)


@each_tower
def test_compiled_equals_eager(config: TowerConfig) -> None:
    tower = perturb(build(config))
    compiled = copy.deepcopy(tower)
    compiled.compile(fullgraph=True)
    torch.testing.assert_close(on("cuda", compiled, 40)(), on("cuda", tower, 40)())


@each_tower
def test_a_step_does_not_wait_for_the_gpu(config: TowerConfig) -> None:
    step = on("cuda", build(config).float(), 40)
    step()  # copies what does not change
    with every_wait_is_an_error():
        step()


def test_bfloat16_is_near_float32() -> None:
    tasks = [Task(name=f"t{i}", category=f"c{i % 2}") for i in range(4)]
    tower = HomeConfig().build(num_features=704, tasks=tasks)
    tower.init_weights(0)
    tower = tower.to("cuda")
    v = torch.randn(512, 704, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        got = tower(v)
    want = tower(v)
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)
