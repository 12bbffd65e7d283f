"""What a checkpoint holds besides weights."""

from __future__ import annotations

import pytest
import torch

from pipeline.checkpoint.run_state import random_state, set_random_state
from pipeline.ranks.world import open_world


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def test_random_states_come_back(device: str) -> None:
    with open_world() as world:
        assert world.device.type == device or device == "cpu"
        state = random_state(world, device)

        def draw() -> list[float]:
            drawn = [torch.rand(3, device=kind) for kind in {"cpu", device}]
            return torch.cat([part.cpu() for part in drawn]).tolist()

        first, second = draw(), draw()
        assert first != second
        set_random_state(state, world)
        assert draw() == first
