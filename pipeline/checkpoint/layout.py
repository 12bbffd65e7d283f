"""Layout of a checkpoint folder, and retention of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.checkpoint.file_types import BestFile
from pipeline.checkpoint.manifest import META, NAME, CorruptError, read_manifest
from pipeline.config.sections import CheckpointConfig
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.io.files import has_file
from pipeline.io.set_aside import where_instead
from pipeline.io.storage import AnyPath, children, open_folder, remove_tree
from pipeline.io.typed_json import read_typed

_STEP = "step-"


def checkpoints_folder(config: Config, out: Path) -> AnyPath:
    """Return the checkpoint folder of the run in `out`."""
    return open_folder(config.checkpoint.path) if config.checkpoint.path else out / "checkpoints"


def step_folder(folder: AnyPath, step: int) -> AnyPath:
    """Return the folder of the checkpoint after `step`."""
    return folder / _name(step)


def _name(step: int) -> str:
    return f"{_STEP}{step:08d}"


def named_steps(folder: AnyPath) -> list[int]:
    """Return steps with a folder of `step_folder`, complete or not, oldest first."""
    if not folder.is_dir():
        return []
    steps = (step_of(path.name) for path in children(folder))
    return sorted(step for step in steps if step is not None)


def step_of(name: str) -> int | None:
    """Return the step of a folder of `step_folder`, by its name; None for another folder."""
    number = name.removeprefix(_STEP)
    return int(number) if number.isdecimal() and name == _name(int(number)) else None


def is_ours(name: str) -> bool:
    """Whether an entry of a checkpoint folder was created by a run."""
    return name.startswith((_STEP, f".{_STEP}")) or name in ("best.json", "lease.json")


def saved_steps(folder: AnyPath) -> list[int]:
    """Return committed steps, oldest first. Their contents are not checked."""
    return [step for step in named_steps(folder) if is_finished(step_folder(folder, step))]


def is_finished(folder: AnyPath) -> bool:
    """Whether the checkpoint in `folder` was committed."""
    return all((folder / name).is_file() for name in (META, NAME, ".metadata"))


def bases(folder: AnyPath, steps: list[int]) -> dict[int, int | None]:
    """Map each step to its base, None if full. Steps with a corrupt manifest are omitted."""
    found = {}
    for step in steps:
        try:
            found[step] = read_manifest(step_folder(folder, step)).base
        except CorruptError:
            continue
    return found


def retained_steps(
    bases: Mapping[int, int | None], best: int | None, rules: CheckpointConfig
) -> dict[int, str]:
    """Return steps to retain and the reason: 'best', 'recent', 'every' (keep_every) or 'base'.

    Full and incremental checkpoints are counted separately, because losing a full one loses all
    that are based on it.
    """
    steps = [step for step, base in sorted(bases.items()) if base is None]
    added = [step for step, base in sorted(bases.items()) if base is not None]
    why: dict[int, str] = dict.fromkeys(steps[-rules.keep :] + added[-rules.keep :], "recent")
    if rules.keep_every:
        first: dict[int, int] = {}
        for step in steps:
            first.setdefault(step // rules.keep_every, step)
        why |= {step: "every" for passed, step in first.items() if passed}
    if best is not None and best in bases:
        why[best] = "best"
    for step in list(why):
        base = bases[step]
        if base is not None and base in bases:
            why.setdefault(base, "base")
    return why


def remove(folder: AnyPath, step: int) -> None:
    """Remove a checkpoint; a kill in between leaves nothing that looks complete.

    If it is a link, only the link is removed.
    """
    old = step_folder(folder, step)
    if isinstance(old, Path):
        remove_tree(old.rename(old.with_name(f".{old.name}.old")))
    else:
        (old / NAME).unlink(missing_ok=True)
        remove_tree(old)


def best_step(folder: AnyPath) -> int | None:
    """Return the best step at the last evaluation. Raises UserError if best.json is corrupt."""
    path = folder / "best.json"
    if not has_file(path):
        return None
    remedy = "remove it to use the newest checkpoint"
    return int(read_typed(path, BestFile, remedy=remedy)["step"])


def find_checkpoint(where: str | AnyPath) -> AnyPath:
    """Return the folder of a checkpoint; for a run (or its `checkpoints`) the best or newest one.

    Raises UserError if there is none.
    """
    path = open_folder(where)
    if is_finished(path):
        return path
    folder = find_folder(path)
    steps = saved_steps(folder)
    if not steps:
        raise UserError(
            f"{path}: no checkpoint here; give the folder of a run (runs/NAME) or of one of its "
            f"checkpoints (runs/NAME/checkpoints/step-...){where_instead(path)}"
        )
    step = best_step(folder)
    return step_folder(folder, step if step in steps else steps[-1])


def find_folder(path: AnyPath) -> AnyPath:
    """Return the checkpoint folder of a run; any other folder is returned unchanged."""
    if isinstance(path, Path) and (path / "config.json").is_file() and not (path / META).exists():
        return checkpoints_folder(Config.load(path / "config.json"), path)
    return path / "checkpoints" if (path / "checkpoints").is_dir() else path
