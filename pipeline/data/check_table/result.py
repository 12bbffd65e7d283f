"""What a check of a table found: the content of its text, its page and `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from embeddings.frozen import Frozen

Severity = Literal["error", "warning", "note"]


class Place(Frozen):
    """One bad value."""

    where: str
    """'FILE: row R (from 0)'."""
    value: str


class BadValues(Frozen):
    """Bad values of one kind."""

    column: str
    what: str
    """Such as 'not a finite number'."""
    remedy: str
    count: int
    first: tuple[Place, ...]


class LabelInSplit(Frozen):
    """A label in one split."""

    rows: int
    missing: int
    positives: int
    rate: float | None
    """Share of known labels that are 1."""

    @property
    def known(self) -> int:
        """Rows with a label."""
        return self.rows - self.missing


class Period(Frozen):
    """Rows of one period."""

    start: str
    rows: int
    rates: Mapping[str, float | None]
    """Share of known labels that are 1, by task."""


class DriftInSplit(Frozen):
    """Population stability index between a split and the training split."""

    psi: float
    by_chance: float
    """What it is on average without any drift."""
    severity: Literal["none", "moderate", "large"]


class FeatureCheck(Frozen):
    """Values of one feature."""

    name: str
    type: str
    missing: Mapping[str, float | None]
    """Share of rows without a value, by split; null: the split has no rows."""
    distinct: int
    """Distinct values in training."""
    exact: bool
    """Whether numbers of distinct, rare and unseen values are exact, not estimates."""
    rare: int | None = None
    """Distinct values in training that are too rare for the vocabulary."""
    unseen: Mapping[str, float | None] | None = None
    """Share of values that are not in the vocabulary (of a hashed feature: not in training)."""
    drift: Mapping[str, DriftInSplit | None] = {}
    """By split: val, test."""
    constant: bool = False
    """Whether training has one value only."""

    @property
    def psi(self) -> float:
        """Largest index of a split."""
        return max((one.psi for one in self.drift.values() if one), default=0.0)


class Duplicates(Frozen):
    """Rows that are equal in all columns that are used."""

    exact: bool
    """Whether numbers are exact, not estimates."""
    repeated: Mapping[str, int]
    """Rows that repeat an earlier row of their split."""
    also_in_train: Mapping[str, int]
    """Rows of val and test that are also in training."""


class SideTable(Frozen):
    """A side table."""

    name: str
    missed: int
    """Rows whose key it does not have."""


class Finding(Frozen):
    """Something that deserves attention."""

    severity: Severity
    what: str
    text: str


class CheckResult(Frozen):
    """All that a check found."""

    rows: int
    """With bad ones."""
    bad_rows: int
    """Left out of all that follows."""
    bad_values: tuple[BadValues, ...]
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, LabelInSplit]]
    """By task and split."""
    period: str
    """What a period is: 'day', or 'part of the rows' for a table without times."""
    periods: tuple[Period, ...]
    features: tuple[FeatureCheck, ...]
    duplicates: Duplicates
    side_tables: tuple[SideTable, ...]
    findings: tuple[Finding, ...] = ()
    """Errors first."""
