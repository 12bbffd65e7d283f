"""Proposes the configuration of a table from a sample of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.features.inference.feature_types import Feature, propose_features
from pipeline.features.inference.groups import propose_groups
from pipeline.features.inference.keys import find_keys
from pipeline.features.inference.labels import Label
from pipeline.features.inference.list_weights import weights_of_lists
from pipeline.features.inference.names import legal_name
from pipeline.features.inference.profile import Profile, profile
from pipeline.features.inference.reasons import reasons_against
from pipeline.features.inference.split import Split, propose_split
from pipeline.features.inference.times import Clock, clock_of
from pipeline.features.inference.wishes import Wishes, check, find_row_labels, find_user, row_clock
from pipeline.io.errors import UserError

GROUPS = ("user", "item", "context")


@dataclass(frozen=True)
class NamedFeature:
    """A feature under its name."""

    name: str
    column: str
    group: str
    feature: Feature


@dataclass(frozen=True)
class LeftOut:
    """A column that is no feature."""

    column: str
    why: str
    features: tuple[NamedFeature, ...] = ()
    """What it would be."""


@dataclass(frozen=True)
class Proposal:
    """What the columns of a table mean."""

    labels: tuple[Label, ...]
    features: tuple[NamedFeature, ...]
    left_out: tuple[LeftOut, ...]
    split: Split
    user: str | None
    why_user: str
    time: str | None
    weight: str | None
    rows: int
    """Of the sample."""
    total_rows: int


def propose(sample: pl.DataFrame, wishes: Wishes, unread: Sequence[LeftOut] = ()) -> Proposal:
    """Return what the columns of a table mean. `unread`: columns that the sample cannot have.

    Raises UserError for a wish that the sample does not meet, and if nothing is left to learn from.
    """
    if not len(sample):
        raise UserError("the table has no rows; give files with rows")
    columns = {one.name: profile(one) for one in sample.get_columns()}
    check(wishes, columns)
    total = max(wishes.rows or 0, len(sample))
    user, why_user = find_user(columns, wishes, total)
    clock = row_clock(columns, wishes)
    reserved = {name for name in (wishes.weight, clock and clock.column) if name}
    labels = find_row_labels(columns, wishes, reserved | {user or ""})
    split = propose_split(columns, wishes.split, clock)
    reserved |= {split.column} if split.by == "column" and split.column else set()
    reasons = reasons_against(columns, wishes, labels, reserved, total)
    groups = propose_groups(columns, reasons, user, wishes.keys)
    judged = [name for name in columns if name not in reasons and name not in reserved]
    keys = find_keys(columns, judged)
    weights = weights_of_lists({name: columns[name] for name in columns if name not in wishes.drop})
    taken: set[str] = {label.name for label in labels}
    found: list[NamedFeature] = []
    left_out: list[LeftOut] = list(unread)
    for name, column in columns.items():
        if name in {label.column for label in labels} or name == wishes.weight:
            continue
        if clock and name == clock.column:
            parts = _time_parts(clock, columns, taken)
            found += parts
            if not parts:
                left_out.append(LeftOut(name, "the time, used for the split"))
            continue
        made: list[NamedFeature] = []
        if column.kind not in ("empty", "other") and name not in wishes.drop:
            group = groups.get(name, "context")
            proposed = propose_features(column, total, weights.get(name), name in keys)
            made = _named(column, group, taken, proposed)
        if name in reasons:
            shown = () if name in reserved or clock_of(columns[name]) else tuple(made)
            left_out.append(LeftOut(name, reasons[name], shown))
        else:
            found += made
    if not found and not left_out:
        roles = "the label" if not wishes.weight else "the label and the weight"
        raise UserError(
            f"no column is left as a feature: the table has only {', '.join(columns)}, {roles}; "
            "give files with other columns"
        )
    if not found:
        raise UserError(
            "no column is left as a feature: "
            + "; ".join(f"{one.column}: {one.why}" for one in left_out[:3])
            + "; give files with other columns, or fewer in --drop"
        )
    time = clock.column if clock else None
    return Proposal(
        tuple(labels), tuple(found), tuple(left_out), split, user, why_user, time, wishes.weight,
        len(sample), total,
    )  # fmt: skip


def _named(
    column: Profile, group: str, taken: set[str], features: Iterable[Feature]
) -> list[NamedFeature]:
    made = []
    for one in features:
        name = legal_name(column.name + one.suffix, taken)
        taken.add(name)
        made.append(NamedFeature(name, column.name, group, one))
    return made


def _time_parts(
    clock: Clock, columns: Mapping[str, Profile], taken: set[str]
) -> list[NamedFeature]:
    made = []
    days = clock.micros // 86_400_000_000
    low, high = days.min(), days.max()
    several = isinstance(low, int) and isinstance(high, int) and high - low >= 9  # 7 in training
    for part, there in (("hour", clock.has_hours), ("weekday", clock.is_absolute and several)):
        if there:
            name = legal_name(part, {*taken, *columns})
            taken.add(name)
            fields = {"type": "id", "part": part}
            made.append(NamedFeature(name, clock.column, "context", Feature(fields, "of the time")))
    return made
