"""Claims a run folder and its checkpoints for a new run, to replace a run, or to resume."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpoint.layout import is_ours, named_steps, step_folder
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io import claim_folder as folders
from pipeline.io.errors import UserError
from pipeline.io.set_aside import SAVED, Replaced, SavedFile
from pipeline.io.storage import AnyPath
from pipeline.io.typed_json import read_typed
from pipeline.report.file_types import PlanFile


def claim(out: Path, checkpoints: AnyPath, resume: bool, overwrite: bool) -> Replaced | None:
    """Claim both folders. Raises UserError if they contain another run, or other files."""
    if resume or overwrite:
        folders.recover(out, _RUN)
    steps = named_steps(checkpoints)
    state = f" (saved up to step {steps[-1]})" if steps else ""
    outside = _outside(out, checkpoints) if steps else []
    if outside and not resume and not overwrite and not (out / _RUN.mark).exists():
        raise UserError(
            f"checkpoint.path: {checkpoints} contains checkpoints{state}; pass --resume to "
            "continue from them, --overwrite to replace them, or give another folder"
        )
    return folders.claim(
        out, _RUN, resume=resume, overwrite=overwrite, state=state, outside=outside
    )


def _outside(out: Path, checkpoints: AnyPath) -> list[AnyPath]:
    """Return the checkpoint folder if it does not move together with `out`, because it is elsewhere
    or is a link or a mount in `out`."""
    if not isinstance(checkpoints, Path):
        return [checkpoints]
    inside = checkpoints.resolve().is_relative_to(out.resolve())
    if inside and not checkpoints.is_symlink() and not checkpoints.is_mount():
        return []
    return [checkpoints.absolute()]


def _is_leftover(path: Path) -> bool:
    """Whether it is from a start that was killed or ran out of disk before writing config.json."""
    try:
        if path.name == "schema.json":
            Schema.load(path.parent)
        elif path.name == "plan.json":
            read_typed(path, PlanFile, remedy="")
        else:
            names = ("schema.json", "plan.json", "config.json")
            return path.name in {f".{name}.partial" for name in names}
    except UserError:
        return False
    return True


def _check_is_run(out: Path) -> None:
    """Check that the folder to delete is a homerec run: other programs also write config.json."""
    remedy = "so it is not replaced: remove it yourself, or give another folder with --out"
    if not (out / "schema.json").is_file():
        raise UserError(f"{out}: has a config.json but no schema.json: not a run, {remedy}")
    try:
        Config.load(out / "config.json")
    except UserError as error:
        raise UserError(f"{error}; {out} is not a run of this version, {remedy}") from error


_RUN = folders.FolderKind(
    name="run",
    mark="config.json",
    is_leftover=_is_leftover,
    check=_check_is_run,
    has_saved=lambda out: (out / SAVED).exists(),
    is_ours=is_ours,
)


def check_resumed(
    out: Path, checkpoints: AnyPath, resumed: int | None, may_start: bool
) -> str | None:
    """Compare the step of the loaded checkpoint (None: there was none) with that of the last save.

    Returns a line about a checkpoint that is gone. Raises UserError if all are: an unmounted disk
    or an emptied bucket looks like a new run.
    """
    if not (out / SAVED).exists():
        if resumed is None and not may_start:
            raise UserError(
                f"{out}: no checkpoint to resume from in {checkpoints}, the run has saved none "
                "yet; start it with --resume auto or --overwrite"
            )
        return None
    remedy = "--overwrite starts a new run" if resumed is None else "remove it"
    saved = read_typed(out / SAVED, SavedFile, remedy=remedy)
    step = saved["step"]
    if resumed is None:
        raise UserError(
            f"{out}: saved step {step} in {saved['folder']}, but {checkpoints} contains "
            "no checkpoint; restore them (is a disk not mounted?), give their folder with "
            "--checkpoint.path, or start again with --overwrite"
        )
    if resumed < step and not step_folder(checkpoints, step).exists():
        return (
            f"the newest checkpoint, of step {step} in {saved['folder']}, is gone; resuming from "
            f"step {resumed}"
        )
    return None
