"""The section `data` of a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config.section import Section
from pipeline.data.sources.config import FilesConfig, JoinConfig, SplitConfig
from pipeline.features.config import LabelConfig


class DataConfig(Section):
    """Training data."""

    path: Path = Path("data/demo")
    """Prepared folder (see 'homerec prepare'); written first if `source` is set and it does not
    exist."""
    source: FilesConfig | None = None
    """Files of your own table, with `labels` and the features under `features`."""
    join: tuple[JoinConfig, ...] = ()
    """Side tables."""
    split: SplitConfig = SplitConfig()
    """Split of the table's rows."""
    user: str | None = None
    """Column of users, for GAUC; unset: no GAUC."""
    time: str | None = None
    """Column of times."""
    weight: str | None = None
    """Column of row weights, which count in loss and metrics; unset: 1."""
    labels: Mapping[str, LabelConfig] = Field(default_factory=dict)
    """Labels of the table, by task."""
    encode: Literal["once", "always"] = "once"
    """When the table's values become ids and numbers. once: in a copy, the prepared folder; always:
    while training reads the files, with the same batches."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What to do about a row with an invalid value: stop, or leave it out and count it."""
    rows_per_group: int = Field(default=16_384, ge=1)
    """Rows of a row group of the prepared folder, the unit of shuffling."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks to train. Empty: the default labels of the folder."""
    features: tuple[str, ...] = ()
    """Sparse and dense features to use, by name or pattern ('hist_*'). Empty: all."""
    exclude: tuple[str, ...] = ()
    """Features to exclude, by name or pattern."""
    num_workers: int = Field(default=1, ge=0, le=1024)
    """Threads per rank that decode Parquet ahead of training; 0: decode in the training thread."""
    shuffle_row_groups: int = Field(default=16, ge=1)
    """Number of row groups shuffled together. More groups shuffle better but use more memory."""
