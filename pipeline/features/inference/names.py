"""What the name of a column tells: whose it is, an id, an outcome, a time."""

from __future__ import annotations

import re
from collections.abc import Collection


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


USERS = _set(
    "user usr uid member customer viewer visitor client account subscriber reader listener "
    "reviewer person buyer subject respondent household patient individual"
)
ITEMS = _set(
    "item iid video movie film product article news song track ad ads advert creative campaign "
    "book sku asin isbn post page doc document author artist album music show game app hotel "
    "listing restaurant shop store brand merchant seller"
)
_IDS = _set("id ids uid iid uuid guid code zip zipcode postcode sku asin isbn ean upc hash md5 key")
_CATEGORIES = _set(
    "onehot cat categorical category type class kind genre city country region zone state device "
    "os browser channel department cluster segment"
)
_AMOUNT_OF = _set(
    "count num number size age days price cost ratio rate avg mean total sum max min std score"
)
_TIMES = _set("time timestamp ts date datetime day at dt when")
_LIKELY_LABELS = _set(
    "click clicked like liked follow followed comment commented forward forwarded share shared "
    "hate hated dislike disliked buy bought purchase purchased order ordered convert converted "
    "conversion install installed subscribe subscribed churn churned default defaulted fraud "
    "skip skipped finish finished rated cart favorite favourite target label y outcome "
    "survived response responded"
)
_TARGETS = _set("target label y outcome response")
_PHRASES = ("long_view", "valid_play", "profile_enter", "add_to_cart")
_ACTIONS = _set("play watch dwell stay listen listened watched played")
_AMOUNTS = _set("time ms sec secs seconds duration length ratio")
_EACH_ROW = _set(
    "row rowid index impression request event log record line serial uuid guid unnamed"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")
_JOINED = re.compile(rf"({'|'.join(sorted(USERS | ITEMS, key=len, reverse=True))})(id|ids)")
_LONGEST = 100
_NO_LABELS = ("loss", "mean", "total")  # names in logs, see pipeline/data/schema.py


def words(name: str) -> list[str]:
    """'userID', 'user_id', 'userid' -> ['user', 'id']."""
    found: list[str] = []
    for word in _WORD.findall(name):
        joined = _JOINED.fullmatch(word.lower())
        found += joined.groups() if joined else [word.lower()]
    return found


def is_user_id(name: str) -> bool:
    """Whether the column identifies users: user_id, CustomerID, uid, user."""
    return _is_id_of(USERS, name)


def is_item_id(name: str) -> bool:
    """Whether the column identifies items: item_id, movieId, sku."""
    return _is_id_of(ITEMS, name)


def _is_id_of(things: Collection[str], name: str) -> bool:
    parts = words(name)
    if len(parts) == 1:
        return parts[0] in things
    return len(parts) == 2 and parts[0] in things and parts[1] in ("id", "uuid", "guid", "key")


def group_by_name(name: str) -> str | None:
    """'user' for user_age, 'item' for video_duration; None if the name does not say."""
    first = next(iter(words(name)), "")
    return "user" if first in USERS else "item" if first in ITEMS else None


def is_id(name: str) -> bool:
    """Whether the name says that equal numbers mean the same thing, but their order nothing."""
    parts = words(name)
    if not parts or not _AMOUNT_OF.isdisjoint(parts):
        return False
    alone = len(parts) == 1 and parts[0] in USERS | ITEMS
    return alone or parts[-1] in _IDS or not (_CATEGORIES | {"id"}).isdisjoint(parts)


def is_time(name: str) -> bool:
    """Whether the name is that of a time: ts, time_ms, created_at, date."""
    return not _TIMES.isdisjoint(words(name))


def is_each_row(name: str) -> bool:
    """Whether the name is that of a row's own number: index, request_id, Unnamed: 0."""
    parts = words(name)
    return not parts or parts == ["id"] or not _EACH_ROW.isdisjoint(parts)


def is_outcome(name: str) -> bool:
    """Whether a column of 0 and 1 by this name is a label: click, is_like, label_2, target."""
    parts = words(name)
    if parts[:1] in (["is"], ["has"], ["did"]):
        parts = parts[1:]
    while parts and parts[-1].isdigit():
        parts = parts[:-1]
    labelled = parts[:1] in (["label"], ["target"]) or parts[-1:] in (["label"], ["target"])
    one = len(parts) == 1 and parts[0] in _LIKELY_LABELS
    return labelled or one or "_".join(parts) in _PHRASES


def is_target(name: str) -> bool:
    """Whether a column by this name is a label whatever its values: target, y, label_1, outcome."""
    return is_outcome(name) and not _TARGETS.isdisjoint(words(name))


def is_known_afterwards(name: str) -> bool:
    """Whether the name is that of an amount known only after the outcome: play_time_ms."""
    parts = words(name)
    return not _ACTIONS.isdisjoint(parts) and not _AMOUNTS.isdisjoint(parts)


def legal_name(column: str, taken: Collection[str], *, label: bool = False) -> str:
    """Return a name for a feature or label that check_name accepts and that is not in `taken`."""
    name = re.sub(r"[^\w-]+", "_", column)
    if not name.strip("_"):
        name = "column"
    name = "".join(character for character in name if character.isprintable())[:_LONGEST]
    if label and name in _NO_LABELS:
        name += "_label"
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique
