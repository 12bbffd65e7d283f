"""What a run reads: the schema, what of it the configuration uses, and two sources of batches."""

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
    """What `open_data` found, checked on this rank."""

    schema: Schema
    chosen: Selection
    train: BatchSource
    validation: BatchSource


def open_data(config: Config, world: World, open_split: OpenSplit) -> TrainData:
    """What the configuration names. Raises UserError on this rank for what is missing or wrong."""
    schema = Schema.load(config.data.path)
    chosen = resolve_features(config, schema)
    return TrainData(
        schema=schema,
        chosen=chosen,
        train=open_split(config, chosen, "train", world, purpose="train"),
        validation=open_split(config, chosen, "val", world, purpose="eval"),
    )
