"""The configuration names sharding types without importing TorchRec."""

from __future__ import annotations

from torchrec.distributed.types import ShardingType

from embeddings.config import SHARDING_TYPES, UNPOOLED_TYPES


def test_sharding_types_are_torchrecs() -> None:
    assert {kind.value for kind in ShardingType} == set(SHARDING_TYPES)
    assert set(UNPOOLED_TYPES) < set(SHARDING_TYPES)
