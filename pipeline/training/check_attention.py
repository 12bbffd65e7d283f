"""Validates the features of `model.attention`."""

from __future__ import annotations

from collections.abc import Sequence

from models.layers.config import AttentionConfig
from pipeline.data.schema import Schema, SparseFeature
from pipeline.io.errors import UserError, nearest


def check_attention(
    config: AttentionConfig, features: Sequence[SparseFeature], schema: Schema
) -> None:
    """Raise UserError if a history or candidate is not in the run's `features`, or does not fit."""
    for event, pairs in config.events.items():
        for history, candidate in pairs.items():
            field = f"model.attention.events.{event}.{history}"
            of_history = _find(field, history, features, schema, multi=True)
            of_candidate = _find(field, candidate, features, schema, multi=False)
            if of_history.table != of_candidate.table:
                same = [f.name for f in features if not f.multi and f.table == of_history.table]
                remedy = nearest(candidate, same) if same else "no single-valued feature has it"
                raise UserError(
                    f"{field}: {candidate!r} is of table {of_candidate.table!r}, the history of "
                    f"{of_history.table!r}; give a candidate of the same table; {remedy}"
                )


def _find(
    field: str, name: str, features: Sequence[SparseFeature], schema: Schema, *, multi: bool
) -> SparseFeature:
    fitting = [feature.name for feature in features if feature.multi == multi]
    found = {feature.name: feature for feature in features}
    if name not in found:
        if any(feature.name == name for feature in schema.sparse):
            raise UserError(
                f"{field}: {name!r} is excluded by data.features or data.exclude, but attention "
                "needs it: change these"
            )
        raise UserError(f"{field}: {name!r} is not an id feature; {nearest(name, fitting)}")
    if found[name].multi != multi:
        is_, needed = ("multi", "single") if found[name].multi else ("single", "multi")
        role = "history" if multi else "candidate"
        raise UserError(
            f"{field}: {name!r} is {is_}-valued; a {role} must be {needed}-valued; "
            f"{nearest(name, fitting)}"
        )
    return found[name]
