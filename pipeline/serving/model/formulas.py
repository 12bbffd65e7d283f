"""The ranking formula of a server: versions, kept in a file over restarts."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from pipeline.io.errors import UserError
from pipeline.io.files import read_text, write_text
from pipeline.serving.http.answers import HttpError


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A formula that was in use."""

    version: int
    formula: str
    time: float
    """When it came into use, in seconds since 1970."""
    source: str
    """model: it came with a model; changed: by request."""


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    history: list[Version]


_DECODER = msgspec.json.Decoder(_State)
_KEPT = 1000
"""Versions in a file; older ones are forgotten."""


class Formulas:
    """The history of formulas; the last is in use."""

    def __init__(self, path: Path | None, of_model: str) -> None:
        """Read the file, if there is one; otherwise start with the model's formula.

        Raises UserError for a file with other content.
        """
        self._path = path
        self.history: tuple[Version, ...] = ()
        if path is not None and path.exists():
            self.history = tuple(_read(path))
        if not self.history or (self.current.source == "model" and self.formula != of_model):
            self.history = self._appended(of_model, "model")

    @property
    def current(self) -> Version:
        """The version in use."""
        return self.history[-1]

    @property
    def formula(self) -> str:
        """The formula in use."""
        return self.current.formula

    @property
    def previous(self) -> Version | None:
        """The last version with another formula."""
        return next((one for one in self.history[::-1] if one.formula != self.formula), None)

    def find(self, version: int) -> Version:
        """Return a version. Raises HttpError 404 if it is not in the history."""
        for one in self.history:
            if one.version == version:
                return one
        raise HttpError(404, "no_such_version", f"version {version} of the formula is not kept")

    def change(self, formula: str) -> None:
        """Take a formula into use; it is in the file when this returns."""
        self._put(self._appended(formula, "changed"))

    def follow_model(self, formula: str) -> None:
        """Take the formula of another model into use."""
        if formula != self.formula:
            self._put(self._appended(formula, "model"))

    def _appended(self, formula: str, source: str) -> tuple[Version, ...]:
        number = self.history[-1].version + 1 if self.history else 1
        return (*self.history, Version(number, formula, time.time(), source))[-_KEPT:]

    def _put(self, history: tuple[Version, ...]) -> None:
        if self._path is not None:
            try:
                write_text(self._path, msgspec.json.encode(_State(list(history))).decode() + "\n")
            except OSError as error:
                raise HttpError(
                    409, "not_kept", f"{self._path}: {error.strerror or error}; give --state FILE"
                ) from error
        self.history = history


def _read(path: Path) -> list[Version]:
    text = read_text(path, remedy="remove it, or give another --state")
    try:
        return _DECODER.decode(text).history
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: {error}; remove it, or give another --state") from error
