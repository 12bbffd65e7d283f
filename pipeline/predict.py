"""Predicts the probabilities of all tasks for the rows of a table of raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch

from pipeline.checkpoint.layout import find_checkpoint
from pipeline.checkpoint.load import load_model
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.columns import Columns
from pipeline.data.schema import Schema
from pipeline.data.table.folder import load_table
from pipeline.evaluate import outputs
from pipeline.features.expected_value import expected_value
from pipeline.features.limits import tasks_of
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath
from pipeline.ranks.world import World
from pipeline.scoring.encode import Encoder
from pipeline.training.build import build
from pipeline.training.resolve_features import Selection, resolve_features
from pipeline.training.train_pipeline import open_pipeline


def predict(
    checkpoint: str | AnyPath, frame: pl.DataFrame, world: World, *, batch_size: int = 4096
) -> pl.DataFrame:
    """Return the probability of each task, in the order of the rows.

    A label with limits has a column more, its expected value, if all of its tasks are trained.

    Args:
        checkpoint: folder of a run (its best checkpoint) or of one checkpoint.
        frame: the raw columns that the features are made of; labels are not needed.

    Raises:
        UserError: the model was not trained on a table, a column is missing, a value is invalid.
    """
    folder = find_checkpoint(checkpoint)
    config = Config.load(folder / "config.json")
    # The folder may have been prepared anew, with other vocabularies or ranges.
    data = config.data.path
    chosen = resolve_features(config, Schema.load(folder).with_splits_of(Schema.load(data), data))
    table = encode(frame, config.data.path, chosen)
    _, parallel = build(config, chosen, world)
    load_model(folder, parallel.model, world)
    parallel.model.eval()
    pipeline = open_pipeline(parallel, world)
    with torch.no_grad():
        parts = [
            output.logits_BT.float().sigmoid().cpu().numpy()
            for output in outputs(pipeline, batches(table, chosen, config, batch_size))
        ]
    found = np.concatenate([np.empty((0, len(chosen.tasks)), np.float32), *parts])[: len(frame)]
    return with_values(pl.DataFrame(found, schema=list(chosen.tasks)), config)


def with_values(chances: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Add the expected value of each label with limits, in the unit of its column."""
    values = []
    for name, label in config.data.labels.items():
        tasks = list(tasks_of(name, label))
        if label.limits is not None and set(tasks) <= set(chances.columns):
            value = expected_value(chances.select(tasks).to_numpy(), label.limits)
            values.append(pl.Series(name, value, dtype=pl.Float32))
    return chances.with_columns(values)


def encode(frame: pl.DataFrame, folder: Path, chosen: Selection) -> pa.Table:
    """Encode raw columns as the prepared folder of the training data was."""
    record = load_table(folder)
    if record is None:
        raise UserError(
            f"{folder}: not prepared from a table of one's own, so raw columns cannot be encoded"
        )
    used = set(chosen.schema.feature_names)
    features = {name: one for name, one in record.spec.features.items() if name in used}
    return Encoder(features, record.fitted(folder)).encode(frame)


def batches(table: pa.Table, chosen: Selection, config: Config, batch_size: int) -> Iterator[Batch]:
    """Yield all rows in order; the last batch is padded with its last row."""
    schema = chosen.schema.model_copy(update={"user_column": None, "weight_column": None})
    columns = Columns(
        schema,
        features=chosen.features,
        tasks=chosen.labels,
        hash_rows=schema.hash_rows(config.embeddings.hash_rows),
        with_oracle=False,
    )
    for name, kind in columns.types.items():
        if name not in table.column_names:  # labels
            table = table.append_column(name, pa.nulls(len(table), kind))
    table = pa.table({name: table[name].cast(kind) for name, kind in columns.types.items()})
    for start in range(0, len(table), batch_size):
        part = table.slice(start, batch_size)
        order = np.minimum(np.arange(batch_size), len(part) - 1)
        weights = (np.arange(batch_size) < len(part)).astype(np.float32)
        rows = columns.decode(part, order, weights, lambda row: f"row {row}")
        yield rows.batch(columns.keys, columns.multi)
