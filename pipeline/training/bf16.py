"""Whether to compute the tower in bfloat16."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist

from pipeline.config.sections import Bf16
from pipeline.ranks.world import World

FASTER = 1.2
"""Times that a product in bfloat16 must be faster than in float32, for `measure` on CPU: the rest
of a step is not."""


def wants_bf16(switch: Bf16, world: World) -> bool:
    """Decide for all ranks; `measure` on CPU takes 60 ms at most, on the first rank.

    CPUs with the same flag differ: relative to float32, AVX512-BF16 products run at twice the speed
    (AMD Zen 4) or at half of it (an Intel without AMX).
    """
    if switch in ("on", "off"):
        return switch == "on"
    if world.device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if switch == "auto":
        return False
    faster = torch.tensor(int(world.is_first and speedup() > FASTER), device="cpu")
    if world.size > 1:
        dist.broadcast(faster, 0, group=world.control)
    return bool(faster)


def speedup() -> float:
    """Return the time of a product in float32, relative to bfloat16, on this CPU."""
    least: dict[torch.dtype, float] = {}
    square = torch.ones(192, 192, device="cpu")
    for _ in range(3):  # by turns, so that other work slows both; the first ones warm up
        for dtype in (torch.float32, torch.bfloat16):
            operand = square.to(dtype)
            start = time.perf_counter()
            torch.mm(operand, operand)
            least[dtype] = min(time.perf_counter() - start, least.get(dtype, float("inf")))
    return least[torch.float32] / least[torch.bfloat16]
