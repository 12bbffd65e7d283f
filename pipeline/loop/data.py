"""Opens the data of a run: schema, selected features and tasks, and two sources of batches."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.tree import Config
from pipeline.data.batch_source import BatchSource
from pipeline.data.schema import Schema
from pipeline.ranks.world import World
from pipeline.training.dataloader import OpenSplit
from pipeline.training.resolve_features import Selection, resolve_features


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainData:
    """Result of `open_data`, validated on this rank."""

    schema: Schema
    chosen: Selection
    train: BatchSource
    validation: BatchSource


def open_data(config: Config, world: World, open_split: OpenSplit) -> TrainData:
    """Open the configured data. Raises UserError on this rank for missing or invalid data.

    The test split is opened only to check it: an evaluation after training is too late for that.
    """
    schema = Schema.load(config.data.path)
    chosen = resolve_features(config, schema)
    found = TrainData(
        schema=schema,
        chosen=chosen,
        train=open_split(config, chosen, "train", world, purpose="train"),
        validation=open_split(config, chosen, "val", world, purpose="eval"),
    )
    if schema.splits["test"].rows:
        open_split(config, chosen, "test", world, purpose="eval")
    return found
