"""Opens a split of a prepared folder as batches of this rank."""

from __future__ import annotations

from typing import Literal, Protocol

from pipeline.config.tree import Config
from pipeline.data.batch_source import BatchSource
from pipeline.data.parquet_source import ParquetSource, open_batches
from pipeline.data.schema import SPLIT
from pipeline.io.console import plain_console, print_line
from pipeline.ranks.world import World
from pipeline.training.batch_size import batch_sizes
from pipeline.training.resolve_features import Selection


class OpenSplit(Protocol):
    """Opens this rank's batches of a split; `open_split` is one."""

    def __call__(
        self,
        config: Config,
        chosen: Selection,
        split: SPLIT,
        world: World,
        *,
        purpose: Literal["train", "eval"],
    ) -> BatchSource: ...


def open_split(
    config: Config,
    chosen: Selection,
    split: SPLIT,
    world: World,
    *,
    purpose: Literal["train", "eval"],
) -> ParquetSource:
    """Open this rank's batches of a split: shuffled for training; complete and in order otherwise.

    Raises UserError for invalid files, and for invalid values found by quick checks.
    """
    source = open_batches(
        config.data.path,
        chosen.schema,
        split,
        features=chosen.features,
        tasks=chosen.labels,
        hash_rows=chosen.schema.hash_rows(config.embeddings.hash_rows),
        batch_size=batch_sizes(config.train, world.size).per_rank,
        rank=world.rank,
        world_size=world.size,
        shuffle=purpose == "train",
        seed=config.train.seed,
        num_workers=config.data.num_workers,
        shuffle_row_groups=config.data.shuffle_row_groups,
        with_oracle=purpose == "eval",
        events=[tuple(pairs) for pairs in chosen.attention.events.values()],
    )
    share = source.check_values()
    if share < 1 and world.is_first:
        print_line(
            plain_console(),
            f"{split}: numbers and labels of {share:.0%} of the row groups checked; the others are "
            "checked as they are read",
        )
    return source
