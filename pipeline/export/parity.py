"""Compares an exported model with evaluation, on rows of the validation split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.tree import Config
from pipeline.data.columns import Columns
from pipeline.data.schema import SPLITS
from pipeline.data.shards import open_shards
from pipeline.io.arrays import Float32Array
from pipeline.io.errors import UserError
from pipeline.scoring.manifest import Manifest, Parity, TableType
from pipeline.scoring.tower import Form
from pipeline.training.resolve_features import Selection

ROWS = 10_000
MAX_DIFFERENCE = 1e-5
"""Of a probability, for fp32 tables."""
MAX_AUC_DIFFERENCE = 1e-3
"""Of each task, for fp16 and int8 tables."""


def sample_rows(config: Config, chosen: Selection) -> pa.Table:
    """Return up to ROWS rows of the validation split (if it is empty, of another), with labels.

    Raises UserError if the prepared folder cannot be read.
    """
    columns = Columns(
        chosen.schema,
        features=chosen.features,
        tasks=chosen.labels,
        hash_rows=chosen.schema.hash_rows(config.embeddings.hash_rows),
        with_oracle=False,
    )
    splits = sorted(SPLITS, key=lambda name: name != "val")
    split = next((name for name in splits if chosen.schema.splits[name].rows), None)
    if split is None:
        raise UserError(f"{config.data.path}: has no rows to compare the exported model on")
    shards = open_shards(config.data.path, chosen.schema, split, columns.types)
    count = int(np.searchsorted(np.cumsum(shards.group_rows), ROWS)) + 1
    table = shards.read(np.arange(min(count, len(shards.group_rows))))
    return table.slice(0, ROWS)


def compare(
    expected: Float32Array, found: Float32Array, rows: pa.Table, chosen: Selection
) -> Parity:
    """Return the parity of probabilities [rows, tasks]."""
    aucs: dict[str, tuple[float, float] | None] = {}
    for index, label in enumerate(chosen.labels):
        target = rows[label.column].to_numpy()
        pair = (auc(expected[:, index], target), auc(found[:, index], target))
        aucs[label.name] = None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
    difference = float(np.abs(expected - found).max(initial=0.0))
    return Parity(rows=len(rows), max_difference=difference, auc=aucs)


def check_parity(parity: Parity, manifest: Manifest, tables: TableType, form: Form) -> None:
    """Raise UserError if the exported model's probabilities differ too much from evaluation."""
    tower = manifest.compiled_dtype if form == "aoti" else "fp32"
    where = f"tower {form} in {tower}, {tables} tables, {parity.rows} rows"
    if tables == tower == "fp32" and not parity.max_difference <= MAX_DIFFERENCE:
        raise UserError(
            f"parity ({where}): probabilities differ by up to {parity.max_difference:.2g} from "
            f"evaluation, more than {MAX_DIFFERENCE:.0e}; nothing is exported"
        )
    for task, pair in parity.auc.items():
        if pair is not None and not abs(pair[0] - pair[1]) <= MAX_AUC_DIFFERENCE:
            raise UserError(
                f"parity ({where}): AUC of {task} is {pair[1]:.4f}, {pair[0]:.4f} in evaluation; "
                "export with --tables fp32, without --compile bf16"
            )


def auc(scores: Float32Array, target: NDArray[np.float32]) -> float | None:
    """Return the area under the ROC curve; NaN targets are left out; None without both classes."""
    known = ~np.isnan(target)
    positive = target[known] == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    ranks = pl.Series(scores[known]).rank("average").to_numpy()
    least = n_positive * (n_positive + 1) / 2
    return float((ranks[positive].sum() - least) / (n_positive * n_negative))


def worst(found: Mapping[str, Parity]) -> Parity:
    """Return the parity with the largest difference."""
    return max(found.values(), key=lambda one: one.max_difference)
