"""Why columns are left out."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.features.inference.flags import copies, why_left_out
from pipeline.features.inference.labels import Label
from pipeline.features.inference.leaks import GIVES_AWAY, column_aucs
from pipeline.features.inference.list_weights import weights_of_lists
from pipeline.features.inference.names import is_outcome
from pipeline.features.inference.profile import Profile
from pipeline.features.inference.times import clock_of
from pipeline.features.inference.wishes import Wishes


def reasons_against(
    columns: Mapping[str, Profile],
    wishes: Wishes,
    labels: list[Label],
    reserved: set[str],
    total: int,
) -> dict[str, str]:
    """Return why columns are left out, by column."""
    used = {label.column for label in labels}
    twins = copies({name: one for name, one in columns.items() if name not in used})
    weights = {weight: ids for ids, weight in weights_of_lists(columns).items()}
    keys = set(wishes.keys.values())
    reasons = {}
    for name, column in columns.items():
        if name in used:
            continue
        if name in wishes.drop:
            reasons[name] = "dropped, as asked for"
        elif name in reserved:
            reasons[name] = "used for the split" if name != wishes.weight else "the weight"
        elif name in weights:
            reasons[name] = f"the weights of {weights[name]}"
        elif column.distinct == 2 and is_outcome(name):
            reasons[name] = "a label by its name; add it to labels, or make it a feature"
        elif ((why := why_left_out(column, total)) and name not in keys) or (
            why := _other_time(column)
        ):
            reasons[name] = why
        elif name in twins:
            reasons[name] = f"equals {twins[name]}"
        elif told := _told(column, labels):
            reasons[name] = told
    return reasons


def _other_time(column: Profile) -> str | None:
    """Times other than that of the row, unless they recur like the release dates of items."""
    if column.kind == "time":
        recurs = column.distinct * 20 <= column.filled
    elif clock_of(column) and column.distinct > 2:
        recurs = False
    else:
        return None
    return None if recurs else "a time: as it is, later values are unknown in training"


def _told(column: Profile, labels: list[Label]) -> str | None:
    found = column_aucs(column, [label.values for label in labels])
    best = max(range(len(labels)), key=found.__getitem__)
    if found[best] <= GIVES_AWAY:
        return None
    return f"gives {labels[best].name} away: AUC {found[best]:.3f} by itself"
