"""Which columns describe users and which items: by name, and by what is constant within one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from pipeline.features.inference.names import group_by_name, is_item_id
from pipeline.features.inference.profile import Profile

_FEWEST = 20
"""Keys with two or more rows that it takes to judge."""
_RATIO = 20
"""How many times more often rows in random order must differ."""


def constant_within(key: Profile, columns: Collection[Profile]) -> set[str]:
    """Return the columns that have one value per value of `key`.

    Up to 1% of the keys may have several, as users move. A column that hardly varies at all is
    constant within anything: judged against the same column in random order.
    """
    usable = [one for one in columns if one.kind not in ("list", "other", "empty")]
    frame = pl.DataFrame(
        {f"c{index}": one.codes for index, one in enumerate(usable)}
        | {"key": key.codes if key.kind not in ("list", "other") else None}
    ).drop_nulls("key")
    sizes = frame.group_by("key").len().filter(pl.col("len") > 1)
    frame = frame.join(sizes.select("key"), on="key", how="semi")
    if len(sizes) < _FEWEST or not usable:
        return set()
    mixed = _varying(frame)
    names = [f"c{index}" for index in range(len(usable))]
    shuffled = _varying(
        frame.with_columns(frame.select(names).sample(fraction=1, shuffle=True, seed=0))
    )
    found = set()
    for index, one in enumerate(usable):
        count, random = mixed[f"c{index}"], shuffled[f"c{index}"]
        if count <= 0.01 * len(sizes) and random >= max(5, _RATIO * count):
            found.add(one.name)
    return found


def _varying(frame: pl.DataFrame) -> Mapping[str, int]:
    """Number of keys with several values, by column."""
    several = frame.group_by("key").agg(pl.all().drop_nulls().n_unique() > 1)
    return several.select(pl.exclude("key").sum()).row(0, named=True)


def propose_groups(
    columns: Mapping[str, Profile],
    reasons: Mapping[str, str],
    user: str | None,
    keys: Mapping[str, str],
) -> dict[str, str]:
    """Return the group of each column: by the key of its side table, by name, by what is constant.

    `keys`: column of a side table -> the key that it is joined by.
    """
    item = next((name for name in columns if is_item_id(name)), None)
    judged = [one for name, one in columns.items() if name not in reasons]
    groups: dict[str, str] = {}
    for key, group in ((item, "item"), (user, "user")):
        if key is not None and columns[key].kind in ("whole", "text", "number"):
            groups |= dict.fromkeys(constant_within(columns[key], judged), group)
    for name in columns:
        if by_name := group_by_name(name):
            groups[name] = by_name
    if item:
        groups[item] = "item"
    if user:
        groups[user] = "user"
    for name, key in keys.items():
        if key in groups:
            groups[name] = groups[key]
    return groups
