"""A compiled tower gives the module's results, in several threads, and keeps no memory."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import aoti_compile_and_package

from pipeline.io.errors import UserError
from pipeline.scoring.compiled_tower import CompiledTower


@pytest.mark.slow  # to compile
def test_threads_get_the_results_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    module = nn.Sequential(nn.Linear(7, 5), nn.SiLU(), nn.Linear(5, 3)).requires_grad_(False)
    rows = torch.export.Dim("rows", min=1, max=1 << 24)
    program = torch.export.export(module, (torch.randn(64, 7),), dynamic_shapes=({0: rows},))
    package = str(tmp_path / "tower.pt2")
    aoti_compile_and_package(program, package_path=package, inductor_configs={"cpp.threads": 1})
    tower = CompiledTower(Path(package), runs=2)
    inputs = [torch.randn(size, 7) for size in (1, 2, 64, 500, 3000) * 20]

    def run(v_BF: Tensor) -> Tensor:
        with torch.inference_mode():
            return tower(v_BF)

    with ThreadPoolExecutor(4) as threads:
        for v_BF, found in zip(inputs, threads.map(run, inputs), strict=True):
            torch.testing.assert_close(found, module(v_BF))
    held = tower(inputs[0])._use_count()  # type: ignore[attr-defined]
    assert held == 1  # by the caller alone


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tower.pt2"
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"tower\.pt2: cannot be loaded"):
        CompiledTower(path, runs=1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/a.so", b"no library")
    with pytest.raises(UserError, match=r"tower\.pt2: cannot be loaded"):
        CompiledTower(path, runs=1)
