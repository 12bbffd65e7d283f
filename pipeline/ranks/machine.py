"""Describes the ranks' hardware, for measurements."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.ranks.world import World


def machine(world: World) -> str:
    """Return processors and devices of this rank's machine, the ranks, and their backend."""
    processor = _processor()
    devices = f"{os.cpu_count()} cores of {processor}"
    if world.device.type == "cuda":
        devices = f"{torch.cuda.get_device_name(world.device)}, {devices}"
    threads = torch.get_num_threads()
    backend = dist.get_backend_config(dist.group.WORLD)
    return (
        f"{devices}; {world.size} ranks, {world.local_size} per host, {threads} threads each, "
        f"{backend}; torch {torch.__version__}, torchrec {version('torchrec')}"
    )


def _processor() -> str:
    """Read the name of the processor (Linux)."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
