"""Take a run's folder and its checkpoints: for a new run, in place of another, or to resume."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpoint.layout import is_ours, named_steps
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io import claim_folder as folders
from pipeline.io.errors import UserError
from pipeline.io.files import read_json
from pipeline.io.set_aside import SAVED, Replaced
from pipeline.io.storage import AnyPath


def claim(out: Path, checkpoints: AnyPath, resume: bool, overwrite: bool) -> Replaced | None:
    """Make both folders ours. UserError if what is in them is another's, or no run at all."""
    if resume or overwrite:
        folders.recover(out, _RUN)
    steps = named_steps(checkpoints)
    state = f" (saved up to step {steps[-1]})" if steps else ""
    outside = _outside(out, checkpoints) if steps else []
    if outside and not resume and not overwrite and not (out / _RUN.mark).exists():
        raise UserError(
            f"checkpoint.path: {checkpoints} holds checkpoints{state}; --resume continues from "
            "them, --overwrite replaces them, or name another folder"
        )
    return folders.claim(
        out, _RUN, resume=resume, overwrite=overwrite, state=state, outside=outside
    )


def _outside(out: Path, checkpoints: AnyPath) -> list[AnyPath]:
    """The folder of checkpoints, unless it moves along with what is in `out`: not one elsewhere,
    and not a link or a mount in `out`."""
    if not isinstance(checkpoints, Path):
        return [checkpoints]
    inside = checkpoints.resolve().is_relative_to(out.resolve())
    if inside and not checkpoints.is_symlink() and not checkpoints.is_mount():
        return []
    return [checkpoints.absolute()]


def _is_leftover(path: Path) -> bool:
    """Whether a start left it, ended by a kill or a full disk before config.json was there."""
    try:
        if path.name == "schema.json":
            Schema.load(path.parent)
        elif path.name == "plan.json":
            read_json(path, needs=("tables",), remedy="")
        else:
            names = ("schema.json", "plan.json", "config.json")
            return path.name in {f".{name}.partial" for name in names}
    except UserError:
        return False
    return True


def _check_is_run(out: Path) -> None:
    """Other programs have a config.json too: what is to be deleted must be a run of ours."""
    remedy = "so it is not replaced: remove it yourself, or name another folder with --out"
    if not (out / "schema.json").is_file():
        raise UserError(f"{out}: has a config.json but no schema.json, so it is no run, {remedy}")
    try:
        Config.load(out / "config.json")
    except UserError as error:
        raise UserError(f"{error}; {out} is no run this version knows, {remedy}") from error


_RUN = folders.FolderKind(
    name="run",
    mark="config.json",
    is_leftover=_is_leftover,
    check=_check_is_run,
    has_saved=lambda out: (out / SAVED).exists(),
    is_ours=is_ours,
)


def check_unsaved(out: Path, checkpoints: AnyPath, may_start: bool) -> None:
    """A mount that is away and an emptied bucket look like a run that has only begun."""
    if (out / SAVED).exists():
        saved = read_json(out / SAVED, needs=("step", "folder"), remedy="--overwrite begins anew")
        raise UserError(
            f"{out}: saved step {saved['step']} in {saved['folder']}, and {checkpoints} holds no "
            "checkpoint; bring them back (is a disk not mounted?), name their folder with "
            "--checkpoint.path, or begin anew with --overwrite"
        )
    if not may_start:
        raise UserError(
            f"{out}: no checkpoint to resume from in {checkpoints}, the run has saved none yet; "
            "begin it with --resume auto, or anew with --overwrite"
        )
