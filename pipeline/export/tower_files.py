"""Writes the dense half: its weights, the program of torch.export, and its compiled form."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.fold import folded
from models.tower import TowerFactory
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.scoring.tower import (
    COMPILED,
    PROGRAM,
    WEIGHTS,
    TowerWithPrior,
    machine,
    part_of,
)
from pipeline.training.resolve_features import Selection

_ROWS = 64
"""Rows of the example that the program is traced with."""
Compile = Literal["auto", "on", "bf16", "off"]


def dense_weights(saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tower.*, attention.* and prior from the head's weights: of the EMA if there is one."""
    head = part_of(saved, "head.")
    tower = part_of(head, "ema.module.") or part_of(head, "tower.")
    found = {f"tower.{name}": value for name, value in tower.items()}
    attention = part_of(head, "tower_input.attention.")
    found |= {f"attention.{name}": value for name, value in attention.items()}
    return {**found, "prior": head["prior"]}


def write_tower(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Config,
    chosen: Selection,
    *,
    tower: TowerFactory | None,
    compile_tower: Compile,
) -> str | None:
    """Write the files; returns the digest of the machine that they were compiled for, if any.

    Raises UserError if the weights are those of another tower, or it cannot be exported.
    """
    torch.save(dict(weights), folder / WEIGHTS)
    program = _trace(_module(weights, config, chosen, tower), chosen)
    torch.export.save(program, folder / PROGRAM)
    compiler = has_compiler()
    if compile_tower == "off" or (compile_tower == "auto" and not compiler):
        return None
    if not compiler:
        raise UserError(
            f"--compile {compile_tower}: no C++ compiler; set CXX, install g++, or give auto"
        )
    if compile_tower == "bf16":
        module = _module(weights, config, chosen, tower, torch.bfloat16)
        program = _trace(module, chosen)
    _compile(program, folder / COMPILED)
    return machine()


def _trace(module: nn.Module, chosen: Selection) -> torch.export.ExportedProgram:
    example = torch.randn(_ROWS, chosen.num_features, generator=torch.Generator().manual_seed(0))
    rows = torch.export.Dim("rows", min=1, max=1 << 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export's own insides
        try:
            return torch.export.export(module, (example,), dynamic_shapes=({0: rows},))
        except Exception as error:  # whatever a tower of one's own does
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise UserError(
                f"tower: torch.export cannot trace it: {reason}; write it for any number of rows, "
                "without Python branches on values"
            ) from error


def has_compiler() -> bool:
    """Whether there is a C++ compiler."""
    command = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    return shutil.which(command[0]) is not None


def _compile(program: torch.export.ExportedProgram, path: Path) -> None:
    from torch._inductor import aoti_compile_and_package

    logging.getLogger("torch._inductor").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Inductor's own insides
        # Threads score rows of their own.
        aoti_compile_and_package(
            program, package_path=os.fspath(path), inductor_configs={"cpp.threads": 1}
        )


def _module(
    weights: Mapping[str, Tensor],
    config: Config,
    chosen: Selection,
    tower: TowerFactory | None,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    with torch.device("meta"):
        if tower is None:
            dense: nn.Module = config.model.tower.build(
                num_features=chosen.num_features, tasks=chosen.tower_tasks
            )
        else:
            dense = tower(chosen.num_features, chosen.tower_tasks)
    try:
        dense.load_state_dict(part_of(weights, "tower."), assign=True)
    except RuntimeError as error:
        raise UserError(
            "the checkpoint has the weights of another tower than its configuration; a tower of "
            "your own is exported from Python: pipeline.export.export.export(..., tower=...)"
        ) from error
    return TowerWithPrior(folded(dense), weights["prior"], dtype).eval().requires_grad_(False)
