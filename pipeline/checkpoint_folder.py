"""Which checkpoints a folder holds."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import read_json

_STEP = "step-"


def step_folder(folder: Path, step: int) -> Path:
    """Of the checkpoint after `step` in a run's `checkpoints` folder."""
    return folder / f"{_STEP}{step:08d}"


def saved_steps(folder: Path) -> list[int]:
    """Steps with a whole checkpoint in a run's `checkpoints` folder, oldest first."""
    names = (path.name for path in folder.glob(f"{_STEP}*") if is_whole(path))
    return sorted(int(name.removeprefix(_STEP)) for name in names)


def is_whole(folder: Path) -> bool:
    """A checkpoint, and not what somebody left of one: .metadata says where its tensors are."""
    return all((folder / name).is_file() for name in ("meta.json", ".metadata"))


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder: itself, or of a run (or its `checkpoints`) the best, else the newest.

    UserError if there is none.
    """
    if is_whole(path):
        return path
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    steps = saved_steps(folder) if folder.is_dir() else []
    if not steps:
        raise UserError(
            f"{path}: no checkpoint here; name a run's folder (runs/NAME) or one of its "
            "checkpoints (runs/NAME/checkpoints/step-...)"
        )
    best = folder / "best.json"
    step = steps[-1]
    if best.is_file():
        remedy = "remove it, and the newest checkpoint is taken"
        step = read_json(best, needs=("step",), remedy=remedy)["step"]
    return step_folder(folder, step if step in steps else steps[-1])
