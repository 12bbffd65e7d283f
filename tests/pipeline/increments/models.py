"""Model folders that differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pipeline.scoring.manifest import file_record, load_manifest
from pipeline.scoring.tables import row_bytes


def changed(folder: Path, to: Path, seed: int, share: float = 0.1) -> Path:
    """Copy a model folder with random rows of its tables and a part of its tower changed."""
    rng = np.random.default_rng(seed)
    shutil.copytree(folder, to)
    manifest, _ = load_manifest(to)
    for table in manifest.tables:
        width = row_bytes(table.type, table.dim)
        rows = np.fromfile(to / table.file, np.uint8).reshape(table.rows, width)
        pick = rng.random(table.rows) < share
        rows[pick] = rng.integers(0, 256, (int(pick.sum()), width), np.uint8)
        rows.tofile(to / table.file)
    (to / "tower.pt").write_bytes((to / "tower.pt").read_bytes() + b"x")
    files = {name: file_record(to / name) for name in manifest.files}
    origin = manifest.origin.model_copy(update={"step": manifest.origin.step + 1})
    manifest.model_copy(update={"files": files, "origin": origin}).save(to)
    return to


def content(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
