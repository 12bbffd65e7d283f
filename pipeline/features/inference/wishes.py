"""What a user says of a table, and the roles of columns that follow: user, time, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.features.inference.flags import too_large
from pipeline.features.inference.labels import Label, check_columns, find_labels, propose_label
from pipeline.features.inference.names import is_user_id, words
from pipeline.features.inference.profile import Profile
from pipeline.features.inference.times import Clock, clock_of, find_clock, number_clock
from pipeline.io.errors import UserError

_LISTED = 20
"""Columns named in an error."""
_NO_IDS = ("list", "other", "empty")


@dataclass(frozen=True)
class Wishes:
    """What the user says of the table; unset: found out."""

    labels: tuple[str, ...] = ()
    user: str | None = None
    no_user: bool = False
    time: str | None = None
    weight: str | None = None
    split: str | None = None
    """time, random or column:NAME."""
    drop: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    """Column of a side table -> the key that it is joined by."""
    rows: int | None = None
    """Rows of the whole table; unset: those of the sample."""


def check(wishes: Wishes, columns: Mapping[str, Profile]) -> None:
    check_columns("--labels", wishes.labels, columns)
    check_columns("--drop", wishes.drop, columns)
    for option, name in (
        ("--user", wishes.user), ("--time", wishes.time), ("--weight", wishes.weight),
    ):  # fmt: skip
        check_columns(option, [name] if name is not None else [], columns)
    if wishes.user is not None and wishes.no_user:
        raise UserError("--user and --no-user exclude each other; keep one")
    if wishes.weight is not None:
        weight = columns[wishes.weight]
        if weight.kind not in ("whole", "number", "bool") or (weight.low or 0) < 0:
            raise UserError(
                f"--weight: {wishes.weight!r} has {weight.kind} values or negative numbers; name a "
                "column of numbers that are at least 0"
            )
        if weight.missing or too_large(weight):
            raise UserError(
                f"--weight: {wishes.weight!r} has missing or infinite values; give each row a "
                "weight"
            )


def find_user(columns: Mapping[str, Profile], wishes: Wishes, total: int) -> tuple[str | None, str]:
    """Return the column of users and why; None where each row has another one."""
    if wishes.no_user:
        return None, "no GAUC, as asked for"
    name = wishes.user
    why = "groups rows for GAUC"
    if name is None:
        usable = [
            name
            for name, one in columns.items()
            if is_user_id(name) and name not in wishes.drop and one.kind not in _NO_IDS
        ]
        usable.sort(key=lambda one: "user" not in words(one))
        if not usable:
            return None, "no column of users found, so no GAUC; --user names one"
        name = usable[0]
        why += ", found by its name"
    column = columns[name]
    if column.kind in _NO_IDS:
        raise UserError(f"--user: {name!r} has no ids; name a column of ids")
    if column.distinct == column.filled and len(column.values) >= total:
        if wishes.user is not None:
            raise UserError(
                f"--user: {name!r} has a different value in each row, so GAUC is undefined; name "
                "another column, or use --no-user"
            )
        return None, f"{name} differs in each row, so no GAUC"
    return name, f"{why}: {column.distinct:,} in the sample"


def row_clock(columns: Mapping[str, Profile], wishes: Wishes) -> Clock | None:
    if wishes.time is None:
        used = {*wishes.labels, *wishes.drop, wishes.weight, wishes.user}
        return find_clock({name: one for name, one in columns.items() if name not in used})
    column = columns[wishes.time]
    if column.kind == "empty":
        raise UserError(f"--time: {wishes.time!r} has no values; name another column")
    clock = clock_of(column) or number_clock(column)
    if clock is None:
        (example,) = column.present.head(1).to_list()
        raise UserError(
            f"--time: {wishes.time!r} has {str(example)!r}, neither a number nor a time such as "
            "2026-05-01 12:00; name another column"
        )
    return clock


def find_row_labels(
    columns: Mapping[str, Profile], wishes: Wishes, excluded: set[str]
) -> list[Label]:
    names = wishes.labels or find_labels(columns, {*excluded, *wishes.drop})
    if not names:
        raise UserError(
            "--labels: no column is a label by its name (click, is_like, label, target ...); name "
            f"the columns to learn, of: {', '.join([*columns][:_LISTED])}"
            + (f" and {len(columns) - _LISTED:,} more" if len(columns) > _LISTED else "")
        )
    labels: list[Label] = []
    for name in dict.fromkeys(names):
        labels.append(propose_label(columns[name], {one.name for one in labels}))
    return labels
