"""Implements `homerec checkpoint`, in one process without ranks."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from typing import Any

from launchers.local.console import open_console
from pipeline.checkpoint.layout import find_checkpoint, is_finished, remove
from pipeline.checkpoint.listing import (
    ListedCheckpoint,
    contents,
    list_checkpoint,
    list_checkpoints,
    open_checkpoints,
    retained,
    retention_rules,
    summarize_tensors,
)
from pipeline.config.sections import CheckpointConfig
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, open_folder
from pipeline.io.text_table import add_text, text_table


def ls(where: str, *, json: bool) -> int:
    """List the checkpoints of a run, one line each."""
    folder = open_checkpoints(where)
    found = list_checkpoints(folder, contents=False)
    if json:
        return _print_json([one.as_json() for one in found])
    any_valid = any(one.problem is None for one in found)
    why = retained(folder, found, retention_rules(folder, found)) if any_valid else {}
    console = open_console()
    print_line(console, str(folder))
    view = text_table(None, [], ["step", "epoch", "MB", "ranks"])
    for heading in ("content", "saved (UTC)", "kept as", "files"):
        add_text(view, heading)
    newest = max((one.step for one in found if one.problem is None), default=None)
    for one in found:
        reason = why.get(one.step, "")
        if one.step == newest:
            reason = "newest" if reason == "recent" else f"newest, {reason}"
        view.add_row(*_row(one), reason, one.problem or "complete")
    console.print(view)
    return 0


def verify(where: str, *, json: bool) -> int:
    """Read every byte. Returns 1 if a checkpoint is corrupt; prints its step and file."""
    place = open_folder(where)
    if is_finished(place):
        found = [list_checkpoint(place, contents=True)]
    else:
        found = list_checkpoints(open_checkpoints(where), contents=True)
    if json:
        _print_json([{"step": one.step, "problem": one.problem} for one in found])
    else:
        console = open_console()
        for one in found:
            state = "valid" if one.problem is None else f"corrupt: {one.problem}"
            print_line(console, f"step {one.step}: {state}")
    return 1 if any(one.problem for one in found) else 0


def show(where: str, *, json: bool) -> int:
    """A summary of a checkpoint; as JSON, every tensor, too."""
    found = contents(find_checkpoint(where))
    if json:
        return _print_json(found)
    console = open_console()
    manifest, progress = found["manifest"], found["progress"]
    files, saved = manifest["files"], datetime.fromtimestamp(manifest["saved"], UTC)
    size = sum(file["bytes"] for file in files.values())
    lines = [
        found["checkpoint"],
        f"step {manifest['step']}, epoch {manifest['epoch']}, saved {saved:%Y-%m-%d %H:%M:%S} UTC "
        f"by {manifest['world_size']} rank(s) on {progress['device']}",
        f"{size / 1e6:,.1f} MB in {len(files)} files",
    ]
    if manifest["base"] is not None:
        lines.append(f"rows changed since step {manifest['base']}; needs that checkpoint, too")
    if progress["best_step"] is not None:
        value = progress["best_value"]
        shown = "undefined" if value is None else f"{value:.4f}"
        lines.append(f"best so far: step {progress['best_step']}, {progress['select']} {shown}")
    for line in lines:
        print_line(console, line)
    view = text_table(None, ["tensors of"], ["number", "elements", "MB"])
    for part, sizes in summarize_tensors(found["tensors"]).items():
        view.add_row(part, f"{sizes.number:,}", f"{sizes.elements:,}", f"{sizes.bytes / 1e6:,.2f}")
    console.print(view)
    print_line(console, "each tensor: --json")
    return 0


def prune(
    where: str,
    *,
    keep: int | None,
    keep_every: int | None,
    corrupt: bool,
    outside: bool,
    dry_run: bool,
) -> int:
    """Delete checkpoints that no rule keeps. All are verified first: only valid ones count."""
    folder = open_checkpoints(where)
    place = folder.resolve() if isinstance(folder, Path) else folder
    if not (outside or dry_run or _is_within(place, open_folder(where))):
        raise UserError(
            f"{where}: its checkpoints are in {place}, outside this folder; pass --outside to "
            "delete there, or --dry-run to list them"
        )
    found = list_checkpoints(folder, contents=True)
    rules = _rules(retention_rules(folder, found), keep, keep_every)
    stay = retained(folder, found, rules)
    console = open_console()
    print_line(console, f"checkpoints in {place}")
    for one in found:
        if one.problem is not None and not corrupt:
            print_line(console, f"step {one.step}: kept, corrupt: {one.problem}")
        elif one.step in stay:
            print_line(console, f"step {one.step}: kept as {stay[one.step]}")
        else:
            print_line(console, f"step {one.step}: {'would be deleted' if dry_run else 'deleted'}")
            if not dry_run:
                remove(place, one.step)
    return 0


def _is_within(place: AnyPath, named: AnyPath) -> bool:
    """Whether the checkpoints are in the folder that the user named, or below it."""
    if not isinstance(named, Path):
        return True  # a store: checkpoints are there or below
    return isinstance(place, Path) and place.is_relative_to(named.resolve())


def _rules(rules: CheckpointConfig, keep: int | None, keep_every: int | None) -> CheckpointConfig:
    keep = rules.keep if keep is None else keep
    keep_every = rules.keep_every if keep_every is None else keep_every
    if keep < 1:
        raise UserError(f"--keep: {keep} would leave no checkpoint; give 1 or more")
    if keep_every < 0:
        raise UserError(f"--keep-every: {keep_every} is negative; give 0 or more")
    return rules.model_copy(update={"keep": keep, "keep_every": keep_every})


def _row(one: ListedCheckpoint) -> list[str]:
    manifest = one.manifest
    if manifest is None:
        return [str(one.step), *[""] * 5]
    return [
        str(one.step),
        str(manifest.epoch),
        f"{manifest.bytes / 1e6:,.1f}",
        str(manifest.world_size),
        "full" if manifest.base is None else f"rows changed since {manifest.base}",
        datetime.fromtimestamp(manifest.saved, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    ]


def _print_json(value: Any) -> int:
    sys.stdout.write(dumps(value, allow_nan=False) + "\n")
    return 0
