"""Limits that let small tables have several chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.data.sources import merge_chunks


@pytest.fixture(scope="module")
def small_chunks() -> Iterator[None]:
    """Row groups are read together only up to 150 rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_chunks, "MAX_ROWS", 150)
        yield
