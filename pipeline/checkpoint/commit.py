"""Rank 0's part of a save: what goes beside the tensors, what makes it a checkpoint, what goes."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.checkpoint.layout import bases, kept, remove, saved_steps, step_folder
from pipeline.checkpoint.lease import Owner
from pipeline.checkpoint.manifest import (
    META,
    NAME,
    File,
    Manifest,
    describe_text,
    digest,
    write_sealed,
)
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.writer import CheckpointWriter
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.files import write_json, write_text
from pipeline.io.storage import AnyPath, children, remove_tree, sync_folder

# What an evaluation adds to a checkpoint.
_LATER = ("health.json", "results.json")


class Publisher:
    """Of one run, into its folder of checkpoints. Its methods raise OSError and UserError."""

    def __init__(self, folder: AnyPath, config: Config, schema: Schema) -> None:
        self._folder = folder
        self._config = config
        self._schema = schema
        self.owner: Owner | None = None
        self.damaged: list[int] = []
        """Steps found damaged when the run began: the next save drops them."""

    def partial(self, step: int) -> AnyPath:
        """Where a save writes until it is done: stores cannot rename, so in its place there."""
        final = step_folder(self._folder, step)
        return final.with_name(f".{final.name}.partial") if isinstance(final, Path) else final

    def writer(self, progress: Progress, base: int | None) -> CheckpointWriter:
        """For DCP: of a whole checkpoint, or one that adds to the whole one of step `base`."""
        found = asdict(progress)  # as it is now: the run goes on while this is written
        return CheckpointWriter(
            self.partial(progress.step),
            lambda: self._begin(progress.step),
            lambda files: self._publish(found, base, files),
        )

    def note(self, progress: Progress) -> None:
        """What an evaluation has found of a checkpoint that is there."""
        # meta.json last: a kill before it, and the evaluation is done again on going on.
        final = step_folder(self._folder, progress.step)
        if progress.best_step is not None:
            best = {"step": progress.best_step, "value": progress.best_value}
            write_json(self._folder / "best.json", best)
        there = [name for name in _LATER if (final / name).is_file()]
        later = {name: asdict(digest(final / name)) for name in there}
        write_sealed(final / META, {**asdict(progress), "files": later})
        self._prune(progress.best_step, progress.step)

    def _begin(self, step: int) -> None:
        self._check_owner()
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_tree(self.partial(step), missing_ok=True)
        for leftover in children(self._folder):
            if leftover.name.startswith(".step-"):
                remove_tree(leftover)

    def _publish(self, progress: dict[str, Any], base: int | None, files: dict[str, File]) -> None:
        step = progress["step"]
        partial, final = self.partial(step), step_folder(self._folder, step)
        config = self._config.model_dump_json(indent=1) + "\n"
        schema = self._schema.model_dump_json(indent=1) + "\n"
        for name, text in (("config.json", config), ("schema.json", schema)):
            write_text(partial / name, text)
            files[name] = describe_text(text)
        write_sealed(partial / META, progress)
        self._check_owner()
        base_manifest = None
        if base is not None:
            base_manifest = digest(step_folder(self._folder, base) / NAME).sha256
        Manifest(
            step=step,
            epoch=int(progress["source"].get("epoch", 0)),
            saved=time.time(),
            world_size=progress["world_size"],
            files=files,
            base=base,
            base_manifest=base_manifest,
        ).save(partial)
        if isinstance(partial, Path) and isinstance(final, Path):
            sync_folder(partial)
            # One that is not whole would be in the way.
            remove_tree(final, missing_ok=True)
            os.rename(partial, final)
            sync_folder(final.parent)
        self._prune(progress["best_step"], step)

    def _check_owner(self) -> None:
        if self.owner is not None:
            self.owner.check()

    def _prune(self, best: int | None, newest: int) -> None:
        """Drop what no rule keeps, and what was damaged when the run began."""
        for step in self.damaged:
            if step != newest and step_folder(self._folder, step).exists():
                remove(self._folder, step)
        self.damaged = []
        found = bases(self._folder, saved_steps(self._folder))
        for step in found.keys() - kept(found, best, self._config.checkpoint).keys():
            remove(self._folder, step)
