"""The dense half of an exported model: target attention, and the tower in its fastest form.

Forms, the fastest first (docs/design/measurements.md):
aoti     compiled by AOTInductor, if this machine's processor and PyTorch are those of the export;
         on request in bfloat16
eager    the tower's own module, with the compiled kernels of models/layers/fused
export   the portable program of torch.export, for towers that are not among models/towers
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.attention import Attention
from models.layers.fold import folded
from models.tasks import Task
from pipeline.io.errors import UserError
from pipeline.scoring.compiled_tower import CompiledTower
from pipeline.scoring.manifest import Manifest

WEIGHTS, PROGRAM, COMPILED = "tower.pt", "tower.pt2", "tower.aoti.pt2"
Tower = Callable[[Tensor], Tensor]
"""[B, F] -> logits [B, T]."""
Form = Literal["aoti", "eager", "export"]


class TowerWithPrior(nn.Module):
    """A tower, plus the logit of each task's base rate: what is exported.

    `dtype`: of the tower's weights and computation.
    """

    prior: Tensor

    def __init__(self, tower: nn.Module, prior: Tensor, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.tower = tower.to(dtype)
        self._dtype = dtype
        self.register_buffer("prior", prior)

    def forward(self, v_BF: Tensor) -> Tensor:
        logits_BT: Tensor = self.tower(v_BF.to(self._dtype)).float() + self.prior
        return logits_BT


def machine() -> str:
    """Return a digest of all that code compiled for this machine depends on."""
    parts = [torch.__version__, platform.machine(), _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of the dense half by name: tower.*, attention.*, prior."""
    found: dict[str, Tensor] = torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu")
    return found


def part_of(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries below `prefix`, with names relative to it."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def available(folder: Path, manifest: Manifest, compiled_for: str | None) -> list[Form]:
    """Return the forms that run here, the fastest first."""
    forms: list[Form] = []
    if (folder / COMPILED).is_file() and compiled_for == machine():
        forms.append("aoti")
    if manifest.tower is not None:
        forms.append("eager")
    return [*forms, "export"]


def load_tower(folder: Path, manifest: Manifest, form: Form, num_features: int, runs: int) -> Tower:
    """Load a form of the tower; `runs`: calls at a time."""
    if form == "aoti":
        return CompiledTower(folder / COMPILED, runs)
    if form == "export":
        return _exported(folder)
    return _eager(manifest, load_weights(folder), num_features)


def _eager(manifest: Manifest, weights: Mapping[str, Tensor], num_features: int) -> Tower:
    assert manifest.tower is not None
    tasks = [Task(name=one.name, category=one.category) for one in manifest.tasks]
    with torch.device("meta"):
        tower = manifest.tower.build(num_features=num_features, tasks=tasks)
    tower.load_state_dict(part_of(weights, "tower."), assign=True)
    return TowerWithPrior(folded(tower), weights["prior"]).eval().requires_grad_(False)


def _exported(folder: Path) -> Tower:
    from torch.export import load

    module: Tower = load(folder / PROGRAM).module()
    return module


def load_attention(folder: Path, manifest: Manifest) -> Attention | None:
    """Load target attention; None if the model has none."""
    if not manifest.attention.events:
        return None
    dim = next(table.dim for table in manifest.tables if table.unpooled)
    with torch.device("meta"):
        attention = manifest.attention.build(dim)
    try:
        attention.load_state_dict(part_of(load_weights(folder), "attention."), assign=True)
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS}: is of another model; export it again") from error
    return attention.eval().requires_grad_(False)
