"""The section `follow` of a run's configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.section import Section


class FollowConfig(Section):
    """Training on a log that grows ('homerec train --follow')."""

    source: str | None = None
    """Folder or pattern of files that appear over time; unset: that of data.source. Files of which
    the data folder was prepared are not trained again. Or kafka://HOST:PORT/TOPIC, with rows as
    JSON objects."""
    kafka_start: Literal["earliest", "latest"] = "earliest"
    """Message of each partition that a new run starts with: the first one, or the next one."""
    skip_lost: bool = False
    """Whether to go on if Kafka has removed messages before they were trained."""
    window_rows: int = Field(default=100_000, ge=1)
    """Rows of a window, rounded up to whole batches. Each rank keeps its part of up to two windows
    in memory."""
    window_minutes: float = Field(default=0.0, ge=0)
    """Minutes after which a window of fewer rows is taken, in whole batches; 0: all
    windows are full."""
    poll_seconds: float = Field(default=2.0, gt=0, le=60)
    """Seconds between looks at the folder. A file is read when its size has not changed between
    two of them."""
    idle_stop_minutes: float = Field(default=0.0, ge=0)
    """Minutes without new rows after which the run ends, with a last window that may have fewer
    rows; 0: never."""
