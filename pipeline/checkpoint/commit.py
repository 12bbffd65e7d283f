"""Rank 0's part of a save: writes the metadata, commits the checkpoint, prunes old ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.checkpoint.layout import (
    bases,
    named_steps,
    remove,
    retained_steps,
    saved_steps,
    step_folder,
)
from pipeline.checkpoint.lease import Lease
from pipeline.checkpoint.manifest import (
    META,
    NAME,
    FileDigest,
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

# Files that an evaluation adds to a checkpoint.
_LATER = ("health.json", "results.json")


class Committer:
    """Commits the checkpoints of one run to its folder. Methods raise OSError and UserError."""

    def __init__(
        self, folder: AnyPath, config: Config, schema: Schema, on_commit: Callable[[int], None]
    ) -> None:
        self._folder = folder
        self._config = config
        self._schema = schema
        self._on_commit = on_commit
        self._lease: Lease | None = None
        self.corrupt: list[int] = []
        """Steps found corrupt at the start of the run; the next save removes them."""

    def acquire_lease(self) -> None:
        """Acquire the lease on the folder, which later saves check."""
        self._lease = Lease(self._folder)
        self._lease.acquire()

    def note_corrupt(self, steps: list[int]) -> None:
        """Have the next save remove these steps."""
        self.corrupt = steps

    def partial(self, step: int) -> AnyPath:
        """Folder that a save writes to; in object stores, which cannot rename, the final folder."""
        final = step_folder(self._folder, step)
        return final.with_name(f".{final.name}.partial") if isinstance(final, Path) else final

    def writer(self, progress: Progress, base: int | None) -> CheckpointWriter:
        """Return a DCP writer for a full checkpoint, or for one incremental to step `base`."""
        found = asdict(progress)  # a copy: training continues while this is written
        return CheckpointWriter(
            self.partial(progress.step),
            lambda: self._begin(progress.step),
            lambda files: self._commit(found, base, files),
        )

    def record_evaluation(self, progress: Progress) -> None:
        """Add the results of an evaluation to a saved checkpoint."""
        # Write meta.json last: a run killed before it evaluates this step again after resuming.
        final = step_folder(self._folder, progress.step)
        if progress.best_step is not None:
            best = {"step": progress.best_step, "value": progress.best_value}
            write_json(self._folder / "best.json", best)
        there = [name for name in _LATER if (final / name).is_file()]
        later = {name: asdict(digest(final / name)) for name in there}
        write_sealed(final / META, {**asdict(progress), "files": later})
        self._prune(progress.best_step, progress.step)

    def _begin(self, step: int) -> None:
        self._check_lease()
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_tree(self.partial(step), missing_ok=True)
        for leftover in children(self._folder):
            if leftover.name.startswith(".step-"):
                remove_tree(leftover)

    def _commit(
        self, progress: dict[str, Any], base: int | None, files: dict[str, FileDigest]
    ) -> None:
        step = progress["step"]
        partial, final = self.partial(step), step_folder(self._folder, step)
        config = self._config.model_dump_json(indent=1) + "\n"
        schema = self._schema.model_dump_json(indent=1) + "\n"
        for name, text in (("config.json", config), ("schema.json", schema)):
            write_text(partial / name, text)
            files[name] = describe_text(text)
        write_sealed(partial / META, progress)
        self._check_lease()
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
            # Remove an incomplete checkpoint with this name.
            remove_tree(final, missing_ok=True)
            os.rename(partial, final)
            sync_folder(final.parent)
        self._on_commit(step)
        self._prune(progress["best_step"], step)

    def _check_lease(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def _prune(self, best: int | None, newest: int) -> None:
        """Remove corrupt checkpoints and those that no rule retains."""
        for step in set(self.corrupt) & set(named_steps(self._folder)) - {newest}:
            remove(self._folder, step)
        self.corrupt = []
        found = bases(self._folder, saved_steps(self._folder))
        for step in found.keys() - retained_steps(found, best, self._config.checkpoint).keys():
            remove(self._folder, step)
