"""Places a prepared folder on a map: its measured dials, and what the nearest cells say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.column_values import integers, numbers, targets
from pipeline.data.schema import Schema
from pipeline.data.shards import open_shards
from pipeline.experiments.map.dials import NAMES, dials_text
from pipeline.experiments.map.map_charts import by_dials, distance
from pipeline.experiments.map.map_words import dial_text, region_text, signed
from pipeline.experiments.map.measure import Float64Array, Measured, measure
from pipeline.experiments.map.rule import Condition
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json

_MOST_ROWS = 200_000
_LEAST_ROWS = 3_000
_SMOOTHING = 20
"""Rows at the task's rate added to each id's rows."""
_NEAREST = 5


class PlaceRows(NamedTuple):
    """Training rows in random order."""

    numbers_ND: Float64Array
    """Normalized; 0 if missing."""
    ids: list[NDArray[np.int64]]
    """Single-valued features, each [N]."""
    labels_NT: Float64Array
    """NaN: missing."""


def place_data(folder: Path, found: Json) -> Json:
    """Return {data, dials, sources, verdict, nearest}: the folder's place on the map `found`.

    Raises UserError for a folder that is not prepared, has damaged values or too few rows, or a map
    without cells.
    """
    if not found["cells"]:
        raise UserError(f"{folder}: the map has no finished cell to compare with; --resume it")
    schema = Schema.load(folder)
    labels = [label for label in schema.labels if label.default]
    rows = read_rows(folder, schema)
    categories = [label.category for label in labels]
    x_NF, labels_NT = _probe_inputs(rows)
    measured = measure(x_NF, labels_NT, categories)
    rates = [schema.rate(label.name) for label in labels]
    dials: dict[str, float] = {
        "tasks": len(labels),
        "rate": max(rates),
        "ratio": max(rates) / min(rates),
        "rows": schema.splits["train"].rows,
    }
    sources = {
        **dict.fromkeys(dials, "counted"),
        **dict.fromkeys(set(NAMES) - set(dials), _source(measured, len(labels))),
    }
    estimates = {name: getattr(measured, name) for name in NAMES if name not in dials}
    dials |= {name: value for name, value in estimates.items() if value is not None}
    nearest = nearest_cells(found, dials)
    return {
        "data": str(folder),
        "dials": {name: dials[name] for name in NAMES if name in dials},
        "sources": sources,
        "nearest": nearest,
        "verdict": _verdict(found, dials, nearest),
    }


def _source(measured: Measured, num_tasks: int) -> str:
    return (
        f"estimated by probes on numbers and target encodings, from {measured.tasks_used} of "
        f"{num_tasks} tasks; what the probes do not see is missing"
    )


def read_rows(folder: Path, schema: Schema) -> PlaceRows:
    """Read up to 200,000 training rows from row groups spread over the split, shuffled."""
    ids = [feature for feature in schema.sparse if not feature.multi]
    labels = [label for label in schema.labels if label.default]
    types = {feature.column: pa.int64() for feature in ids}
    types |= {feature.column: pa.float32() for feature in schema.dense}
    types |= {label.column: pa.float32() for label in labels}
    shards = open_shards(folder, schema, "train", types)
    every = max(1, -(-sum(shards.group_rows) // _MOST_ROWS))
    groups = np.arange(0, len(shards.group_rows), every)
    table = shards.read(groups, list(types))
    if table.num_rows < _LEAST_ROWS:
        raise UserError(
            f"{folder}: {table.num_rows:,} training rows are too few to place; "
            f"it takes {_LEAST_ROWS:,}"
        )
    locate = partial(shards.locate, groups)
    order = np.random.default_rng(0).permutation(table.num_rows)[:_MOST_ROWS]
    dense = [
        np.nan_to_num((numbers(table[one.column], one, locate) - one.mean) / one.std)[order]
        for one in schema.dense
    ]
    return PlaceRows(
        _columns(dense, len(order)).clip(-5, 5),
        [integers(table[feature.column])[order] for feature in ids],
        _columns([targets(table[one.column], one, locate)[order] for one in labels], len(order)),
    )


def _columns(columns: Sequence[NDArray[Any]], rows: int) -> Float64Array:
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((rows, 0))


def _probe_inputs(rows: PlaceRows) -> tuple[Float64Array, Float64Array]:
    """Return inputs and labels of three quarters of the rows.

    Ids become each task's mean label of the rows with that id in the first quarter.
    """
    first = len(rows.labels_NT) // 4
    encoded = [_encode(ids, rows.labels_NT, first) for ids in rows.ids]
    x_NF = np.concatenate([rows.numbers_ND, *encoded], axis=1)[first:]
    spread = x_NF.std(0)
    x_NF = (x_NF - x_NF.mean(0))[:, spread > 0] / spread[spread > 0]
    return x_NF, rows.labels_NT[first:]


def _encode(ids: NDArray[np.int64], labels_NT: Float64Array, first: int) -> Float64Array:
    """Return each task's smoothed mean label by id, [N, T]."""
    place = np.unique(ids, return_inverse=True)[1]
    known_NT = ~np.isnan(labels_NT[:first])
    rates_T = np.nanmean(labels_NT[:first], axis=0)
    found = np.empty(labels_NT.shape)
    for task, rate in enumerate(rates_T):
        known = known_NT[:, task]
        here, labels = place[:first][known], labels_NT[:first, task][known]
        count = np.bincount(here, minlength=place.max() + 1)
        positives = np.bincount(here, weights=labels, minlength=place.max() + 1)
        found[:, task] = ((positives + _SMOOTHING * rate) / (count + _SMOOTHING))[place]
    return found


def nearest_cells(found: Json, dials: dict[str, float]) -> list[Json]:
    """Return the nearest cells of the map over the measured dials, nearest first."""
    spans = {
        name: distance(name, max(values), min(values)) or 1.0
        for name in dials
        for values in [[cell["dials"][name] for cell in found["cells"]]]
    }

    def far(cell: Json) -> float:
        return sum(
            (distance(name, cell["dials"][name], value) / spans[name]) ** 2
            for name, value in dials.items()
        )

    return sorted(found["cells"], key=far)[:_NEAREST]


def _verdict(found: Json, dials: dict[str, float], nearest: Sequence[Json]) -> str:
    conclusions = [cell["difference"]["conclusion"] for cell in nearest]
    mean = fmean(cell["difference"]["mean"] for cell in nearest)
    parts = []
    for cell in nearest:
        (where,) = by_dials({"cells": [cell]})
        parts.append(f"{dials_text(where)} {signed(cell['difference'])} against {cell['rival']}")
    text = (
        f"HoME minus best rival is {mean:+.2f} on average of the {len(nearest)} nearest cells, "
        f"better in {conclusions.count('better')} and worse in {conclusions.count('worse')} "
        f"({'; '.join(parts)})."
    )
    for region in found["rule"]["regions"]:
        conditions = [Condition(**condition) for condition in region["conditions"]]
        if all(one.name in dials and one.holds(dials) for one in conditions):
            text += f" The rule: {region_text(region)}, {region['conclusion']}."
    for name, value in dials.items():
        measured = [cell["dials"][name] for cell in found["cells"]]
        if not min(measured) <= value <= max(measured):
            text += (
                f" {name} {dial_text(value)} is outside the map ({min(measured):,g} to "
                f"{max(measured):,g})."
            )
    return text
