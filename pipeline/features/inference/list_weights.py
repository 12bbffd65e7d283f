"""Finds lists that are the weights of other lists."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.features.inference.names import words
from pipeline.features.inference.profile import Profile

_WEIGHTS = frozenset(("weight", "weights", "score", "scores", "strength", "values", "counts"))


def weights_of_lists(columns: Mapping[str, Profile]) -> dict[str, str]:
    """Return {column of ids: column of weights}.

    Weights are lists of numbers called after the ids (tags, tag_weights), of equal length in all
    rows.
    """
    found: dict[str, str] = {}
    for name, column in columns.items():
        stem = set(words(name)) - _WEIGHTS
        if not _is_numbers(column) or len(stem) == len(words(name)):
            continue
        for other, ids in columns.items():
            named = {part.rstrip("s") for part in stem} & {
                part.rstrip("s") for part in words(other)
            }
            if other not in (name, *found) and named and _lengths_equal(column, ids):
                found[other] = name
                break
    return found


def _singular(word: str) -> str:
    return word.rstrip("s")


def _is_numbers(column: Profile) -> bool:
    if column.kind != "list" or column.in_text:
        return False
    return bool(column.values.dtype.inner.is_numeric())  # type: ignore[attr-defined]


def _lengths_equal(one: Profile, other: Profile) -> bool:
    if other.kind != "list" or other.in_text:
        return False
    return (
        one.values.list.len()
        .fill_null(0)
        .equals(other.values.list.len().fill_null(0), check_names=False)
    )
