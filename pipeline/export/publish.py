"""Publishes a checkpoint: as an increment on the model before, or as a full folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoint.layout import find_checkpoint, find_folder, saved_steps, step_folder
from pipeline.checkpoint.manifest import NAME as CHECKPOINT
from pipeline.checkpoint.manifest import digest
from pipeline.export.export import export
from pipeline.increments.channel import Channel
from pipeline.increments.follower import Follower
from pipeline.increments.increment import write_increment
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, open_folder
from pipeline.scoring.manifest import TableType, load_manifest


@dataclass(frozen=True, slots=True)
class Published:
    """What was published."""

    number: int
    step: int
    is_full: bool
    bytes: int
    changed_rows: int


class Publisher:
    """Publishes models of one run to a channel.

    Args:
        work: local folder that keeps the model published last.
        full_every: increments between two full folders.
        keep: full folders that are kept, with the increments that follow them.
    """

    def __init__(
        self,
        channel: Channel,
        work: Path,
        *,
        tables: TableType = "fp32",
        full_every: int = 50,
        keep: int = 2,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._channel, self._work, self._say = channel, work, say
        self._tables, self._full_every, self._keep = tables, full_every, keep
        self._last = Follower(channel, work, say)

    def newest(self, run: str) -> Published | None:
        """Publish the newest checkpoint of a run; None if it is published already."""
        folder = find_folder(open_folder(run))
        steps = saved_steps(folder)
        if not steps:
            raise UserError(f"{run}: no checkpoint is saved; train first")
        return self.publish(step_folder(folder, steps[-1]))

    def publish(self, checkpoint: str | AnyPath) -> Published | None:
        """Publish a checkpoint; None if its model is the newest already.

        The model is exported whole and compared with evaluation, and an increment is the difference
        of two exports: applied, it gives the exported folder byte for byte.

        Raises UserError if the checkpoint cannot be exported, or another process publishes, too.
        """
        folder = find_checkpoint(checkpoint)
        self._last.update()
        fulls, increments = self._channel.numbers()
        number = max([0, *fulls, *increments]) + 1
        is_known = self._last.number == number - 1 > 0
        if is_known and self._is_last(digest(folder / CHECKPOINT).sha256):
            return None
        with tempfile.TemporaryDirectory(prefix=".publish.", dir=self._work) as name:
            new = Path(name) / "model"
            export(folder, new, tables=self._tables, compile_tower="off", say=self._say)
            manifest, _ = load_manifest(new)
            size = sum(file.bytes for file in manifest.files.values())
            step = manifest.origin.step
            if is_known and number - max(fulls, default=0) <= self._full_every:
                file = Path(name) / "increment.zip"
                head = write_increment(self._last.folder, new, file, number)
                if file.stat().st_size < size:
                    self._channel.put_increment(number, file)
                    rows = sum(head.changed_rows.values())
                    found = Published(number, step, False, file.stat().st_size, rows)
                    self._last.update()
                    return found
            self._channel.put_full(number, new)
        self._last.update()
        self._channel.prune(self._keep)
        return Published(number, step, True, size, 0)

    def _is_last(self, checkpoint: str) -> bool:
        """Whether the last model is of this checkpoint, with tables of the same format."""
        manifest, _ = load_manifest(self._last.folder)
        kinds = {table.type for table in manifest.tables}
        return manifest.origin.checkpoint == checkpoint and kinds <= {self._tables}
