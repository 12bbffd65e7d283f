"""What a run reads: the schema, what of it the configuration uses, and two sources of batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.config.tree import Config
from pipeline.data.batch_source import BatchSource
from pipeline.data.schema import SPLIT, Schema
from pipeline.ranks.world import World
from pipeline.training.resolve_features import Selection, select


class OpenSplit(Protocol):
    """Opens this rank's batches of a split; `pipeline.training.dataloader.open_split` is one."""

    def __call__(
        self,
        config: Config,
        chosen: Selection,
        split: SPLIT,
        world: World,
        *,
        purpose: Literal["train", "eval"],
    ) -> BatchSource: ...


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
    chosen = select(config, schema)
    return TrainData(
        schema=schema,
        chosen=chosen,
        train=open_split(config, chosen, "train", world, purpose="train"),
        validation=open_split(config, chosen, "val", world, purpose="eval"),
    )
