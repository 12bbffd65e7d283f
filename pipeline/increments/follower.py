"""Keeps a local copy of a published model at its newest number."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.increments.channel import Channel
from pipeline.increments.increment import RefusedError, apply_increment, read_head
from pipeline.io.errors import UserError
from pipeline.io.storage import remove_tree
from pipeline.scoring.manifest import check_files, load_manifest

_LOCAL = re.compile(r"model-(\d{8})")
_AGAIN_S = 30.0
"""Seconds until what was refused is fetched again."""
_KEPT = 2
"""Local models: the newest, and the one that may still serve."""


class Follower:
    """A local folder with the newest models of a channel: WORK/model-NUMBER."""

    def __init__(
        self, channel: Channel, work: Path, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Raises UserError if the folder cannot be created."""
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{work}: cannot be created ({error.strerror})") from error
        self._channel, self._work, self._say = channel, work, say
        for path in work.glob(".*"):  # of a process that was killed
            remove_tree(path)
        self.refused: Counter[str] = Counter()
        """Number of refused increments and folders, by reason."""
        self._named: set[str] = set()
        self._again: dict[str, float] = {}
        """When to try again what was refused, by time.monotonic."""
        self._is_checked = False

    @property
    def number(self) -> int:
        """Number of the newest local model; 0 if there is none."""
        return max([0, *self._local()])

    @property
    def folder(self) -> Path:
        """The newest local model."""
        return self._folder(self.number)

    def update(self) -> bool:
        """Fetch and apply what is new; returns whether there is another local model.

        What cannot be applied is named once, and the newest full folder is fetched instead, if it
        is newer. Otherwise the local model stays as it is until one is published.
        """
        fulls, increments = self._channel.numbers()
        newest = max([0, *fulls, *increments])
        if newest:
            self._check_local(newest)
        before = self.number
        while self.number < newest:
            following = self.number + 1
            done = False
            if self.number and following in increments:
                done = self._try(f"increment {following}", partial(self._apply, following))
            elif self.number and following not in fulls:
                self._refuse("gap", f"increment {following}: missing, {newest} is published")
            newer = [number for number in fulls if number > self.number]
            done = done or any(
                self._try(f"full {number}", partial(self._fetch, number))
                for number in reversed(newer)
            )
            if not done:
                break
        for number in sorted(self._local())[:-_KEPT]:
            remove_tree(self._folder(number))
        return self.number > before

    def _check_local(self, newest: int) -> None:
        """Remove local models that are not of this channel."""
        number = self.number
        if newest >= number and self._is_checked:
            return
        if number and newest < number:
            self._refuse("stale", f"the newest published model is {newest}, the local one {number}")
        elif number:
            digest = self._channel.digest(number, self._work)
            if digest in (None, load_manifest(self.folder)[1]):
                self._is_checked = True
                return
            self._refuse("foreign", f"{self.folder}: is not model {number} of {self._channel.path}")
        for one in self._local():
            remove_tree(self._folder(one))
        self._is_checked = True

    def _apply(self, number: int) -> None:
        file = self._work / f".increment-{number}.zip"
        try:
            self._channel.fetch_increment(number, file)
            head = read_head(file)
            if head.number != number:
                raise RefusedError(
                    "stale", f"increment {number}: is number {head.number} by its content"
                )
            apply_increment(self.folder, file, self._folder(number))
        finally:
            file.unlink(missing_ok=True)

    def _fetch(self, number: int) -> None:
        incomplete = self._work / f".full-{number}"
        try:
            self._channel.fetch_full(number, incomplete)
            manifest, _ = load_manifest(incomplete)
            check_files(incomplete, manifest)
            incomplete.rename(self._folder(number))
        finally:
            remove_tree(incomplete, missing_ok=True)

    def _try(self, what: str, change: Callable[[], None]) -> bool:
        if time.monotonic() < self._again.get(what, 0.0):
            return False
        self._again[what] = time.monotonic() + _AGAIN_S
        try:
            change()
        except RefusedError as error:
            self._refuse(error.reason, f"{what}: {error}")
        except UserError as error:  # a full folder that is damaged
            self._refuse("damaged", f"{what}: {error}")
        except OSError as error:
            self._refuse("unreachable", f"{what}: {error}")
        else:
            return True
        return False

    def _refuse(self, reason: str, line: str) -> None:
        if line not in self._named:
            self._named.add(line)
            self.refused[reason] += 1
            self._say(f"refused ({reason}): {line}")

    def _local(self) -> list[int]:
        names = [_LOCAL.fullmatch(path.name) for path in self._work.iterdir()]
        return [int(name[1]) for name in names if name is not None]

    def _folder(self, number: int) -> Path:
        return self._work / f"model-{number:08d}"


def open_follower(address: str, work: Path, say: Callable[[str], None]) -> Follower:
    """Fetch the newest published model. Raises UserError if there is none."""
    follower = Follower(Channel(address), work, say)
    follower.update()
    if not follower.number:
        raise UserError(
            f"{address}: no model that can be served is published; run 'homerec publish --run RUN "
            f"--to {address}'"
        )
    return follower
