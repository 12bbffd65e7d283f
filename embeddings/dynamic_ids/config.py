"""Configuration of dynamic ids. Does not import torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from embeddings.frozen import Frozen

Evict = Literal["lfu", "lru", "age"]


class DynamicConfig(Frozen):
    """Rows of a table that ids get when they come, and lose to others."""

    rows: int = Field(ge=1, le=2**40)
    """Number of ids that have a row of their own at a time."""
    min_count: int = Field(default=2, ge=1, le=2**31)
    """Number of times that an id is seen in training before it gets a row; until then it shares
    the rows for unknown ids."""
    evict: Evict = "lfu"
    """Which id of a full bucket of rows loses its row: lfu: the least frequently used one, where
    the counts of ids no longer seen weigh less as others are evicted (LFU-DA); lru: the one that
    was not seen for longest; age: the one that has had its row for longest."""
