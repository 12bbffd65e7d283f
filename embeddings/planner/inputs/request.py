"""A request to the planner: model, cluster, rules and training setup."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from torch import nn
from torchrec.distributed.planner.types import ParameterConstraints, StorageReservation
from torchrec.distributed.types import CacheParams, ModuleSharder, PipelineType

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.training_setup import TrainingSetup

_MAX_IDS = 2**45


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """All inputs of a plan except the budget of the search."""

    module: nn.Module
    """The model, on the meta device, with tables marked with their optimizers."""
    cluster: Cluster
    batch_size: int
    """Rows per rank."""
    usage: Mapping[str, ParameterConstraints] = field(default_factory=dict)
    """Usage of tables by name: pooling factors, number of poolings, cache, ..."""
    rules: Sequence[Rule] = ()
    setup: TrainingSetup = field(default_factory=TrainingSetup)
    """Training setup: exchanges, pipeline, reserved memory, replicas."""
    half: frozenset[str] = frozenset()
    """Tables to treat as fp16."""

    def __post_init__(self) -> None:
        """Raises ValueError if a step looks up more than 2^45 ids, whose bytes may not fit into 64
        bits."""
        ids_a_row = sum(
            ids * bags
            for known in self.usage.values()
            for ids, bags in zip(
                known.pooling_factors, known.num_poolings or repeat(1.0), strict=False
            )
        )
        ids = self.batch_size * self.cluster.ranks * max(ids_a_row, 1.0)
        if ids > _MAX_IDS:
            raise ValueError(
                f"{self.batch_size:,} rows on each of {self.cluster.ranks:,} ranks look up "
                f"{ids:.0e} ids in a step; give smaller batches, pooling factors or num_poolings"
            )

    def changed(self, **fields: Any) -> PlanRequest:
        """Return a copy with changed `fields`."""
        return dataclasses.replace(self, **fields)

    @property
    def group(self) -> Cluster:
        """Return the ranks that tables are sharded over. ValueError if groups are uneven."""
        return self.setup.group(self.cluster)

    @property
    def sharders(self) -> Sequence[ModuleSharder[Any]]:
        return self.setup.sharders(self.cluster.device)

    @property
    def reservation(self) -> StorageReservation:
        return self.setup.reservation()

    @property
    def pipeline(self) -> PipelineType:
        return self.setup.pipeline_type

    @property
    def constraints(self) -> dict[str, ParameterConstraints]:
        """Return `usage` with what rules ask TorchRec for, and caches filled one batch ahead if
        the pipeline does so."""
        usage = offered(self.usage, self.rules)
        if self.setup.pipeline != "prefetch":
            return usage
        return {
            name: dataclasses.replace(
                known,
                cache_params=dataclasses.replace(
                    known.cache_params or CacheParams(), prefetch_pipeline=True
                ),
            )
            for name, known in usage.items()
        }
