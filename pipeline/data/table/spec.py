"""All that decides what a table's rows become: part of a configuration, and saved with the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from embeddings.frozen import Frozen
from pipeline.data.sources.config import FilesConfig, JoinConfig, SplitConfig
from pipeline.features.config import FeatureConfig, LabelConfig


class TableSpec(Frozen):
    """See the sections data and features of the configuration."""

    source: FilesConfig
    join: tuple[JoinConfig, ...] = ()
    split: SplitConfig = SplitConfig()
    user: str | None = None
    weight: str | None = None
    labels: Mapping[str, LabelConfig]
    features: Mapping[str, FeatureConfig]
    on_bad_row: Literal["stop", "skip"] = "stop"
    rows_per_group: int = Field(default=16_384, ge=1)
