"""Cost constants of a cluster in addition to bandwidths, for TorchRec's estimator.

The defaults are TorchRec's; `homerec plan calibrate` measures them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import Field
from torchrec.distributed.planner.constants import (
    BIGINT_DTYPE,
    BWD_COMPUTE_MULTIPLIER,
    WEIGHTED_FEATURE_BWD_COMPUTE_MULTIPLIER,
    WEIGHTED_KERNEL_MULTIPLIER,
)
from torchrec.distributed.planner.estimator.annotations import (
    input_data_type_size,
    use_block_usage_penalty,
    use_min_dim_for_lookup,
)
from torchrec.distributed.planner.estimator.config import EmbeddingPerfEstimatorConfig
from torchrec.distributed.planner.estimator.types import (
    EstimatorPerfCoefficients,
    PerfCoefficient,
    PerfCoefficientConfig,
)
from torchrec.distributed.planner.types import BasicCommsBandwidths, CollectiveType, Perf
from torchrec.distributed.types import ShardingType

from embeddings.frozen import Frozen

# TorchRec's bandwidths are in bytes per millisecond.
GBS = 1e9 / 1e3


class LookupWeights(Frozen):
    """Weights of a lookup's time: (w_ids * ids + w_rows * rows + w_outputs * outputs) / bandwidth,
    in bytes."""

    ids: float = Field(default=1.0, ge=0)
    """Weight of a byte of ids, relative to a byte of rows."""
    rows: float = Field(default=1.0, ge=0)
    """Weight of a byte of rows: 1 if the bandwidth is that of rows."""
    output: float = Field(default=1.0, ge=0)
    """Weight of a byte of the pooled output."""


class KernelCosts(Frozen):
    """Costs of a compute kernel's lookups."""

    forward: LookupWeights = LookupWeights()
    backward: LookupWeights | None = None
    """Including the optimizer, if fused; unset: forward x `bwd_compute_multiplier`."""


class Shares(Frozen):
    """Fraction of a link's bandwidth (intra_bw, inter_bw) that each kind of exchange reaches."""

    all_to_all: float = Field(default=1.0, gt=0)
    """Outputs of table-wise and column-wise tables, and ids."""
    reduce_scatter: float = Field(default=1.0, gt=0)
    """Outputs of row-wise tables."""
    all_gather: float = Field(default=1.0, gt=0)
    """Gradients of row-wise tables."""
    all_reduce: float = Field(default=1.0, gt=0)
    """Gradients of data-parallel tables; relative to inter_bw x devices per host in TorchRec."""


class FixedCosts(Frozen):
    """Minimum milliseconds of a shard. Not modeled by TorchRec."""

    fwd_compute: float = Field(default=0.0, ge=0)
    fwd_comms: float = Field(default=0.0, ge=0)
    bwd_compute: float = Field(default=0.0, ge=0)
    bwd_comms: float = Field(default=0.0, ge=0)
    input_dist_comms: float = Field(default=0.0, ge=0)
    optimizer: float = Field(default=0.0, ge=0)
    """Optimizer of a data-parallel table, which is not fused; counted in bwd_comms."""


class StartCost(Frozen):
    """Milliseconds of a step, by part."""

    fwd_compute: float = Field(default=0.0, ge=0)
    fwd_comms: float = Field(default=0.0, ge=0)
    bwd_compute: float = Field(default=0.0, ge=0)
    bwd_comms: float = Field(default=0.0, ge=0)
    input_dist_comms: float = Field(default=0.0, ge=0)


class StartCosts(Frozen):
    """Fixed cost of each sharding type of a plan on every rank: kernel launches and collectives.

    TorchRec does not model this. The search adds it to the time of the busiest rank, so that small
    tables share a sharding type instead of each using its individually cheapest type.
    """

    sharded: StartCost = StartCost()
    """For each type except data-parallel."""
    copied: StartCost = StartCost()
    """For all data-parallel tables together."""

    def by_part(self, types: Iterable[str], ranks: int) -> dict[str, float]:
        """Return milliseconds by part of a plan that uses `types`. One rank has no exchanges."""
        total = dict.fromkeys(StartCost.model_fields, 0.0)
        for sharding_type in set(types):
            copied = sharding_type == ShardingType.DATA_PARALLEL.value
            for part, ms in (self.copied if copied else self.sharded).model_dump().items():
                if ranks > 1 or not part.endswith("comms"):
                    total[part] += ms
        return total


class Costs(Frozen):
    """Cost constants of a cluster; the defaults are TorchRec's."""

    fused: KernelCosts = KernelCosts()
    """Tables with a fused optimizer (all except data-parallel ones)."""
    dense: KernelCosts = KernelCosts()
    """Data-parallel tables."""
    dense_bw: float | None = Field(default=None, gt=0)
    """GB/s of the dense kernel, whose optimizer reads and writes a table 9.22 times per step in
    TorchRec's model; unset: half of the memory bandwidth."""
    block_penalty: bool = True
    """Whether tables narrower than 128 take 1.15 times (from 64 on) or 1.75 times as long in
    forward, and those narrower than 32 read as if they had 32 columns, as in GPU kernels."""
    id_bytes: float = Field(default=float(BIGINT_DTYPE), gt=0)
    """Bytes per id: 8, or more if sending ids costs more than their bytes."""
    shares: Shares = Shares()
    fixed: FixedCosts = FixedCosts()
    starts: StartCosts = StartCosts()
    bwd_compute_multiplier: float = Field(default=float(BWD_COMPUTE_MULTIPLIER), gt=0)
    """Backward relative to forward lookup, if `backward` is unset."""
    weighted_feature_bwd_compute_multiplier: float = Field(
        default=float(WEIGHTED_FEATURE_BWD_COMPUTE_MULTIPLIER), gt=0
    )
    """Additional factor for tables with weighted ids."""
    weighted_kernel_multiplier: float = Field(default=WEIGHTED_KERNEL_MULTIPLIER, ge=0)
    """Gradient of these weights, relative to the forward lookup."""


def calibrated_config(costs: Costs, device: str) -> EmbeddingPerfEstimatorConfig:
    """Return TorchRec's default estimator with these constants; some are annotations of a class."""
    annotations = [input_data_type_size(costs.id_bytes)]
    if not costs.block_penalty:
        annotations += [use_block_usage_penalty(False), use_min_dim_for_lookup(False)]

    class Annotated(CalibratedConfig):
        pass

    for annotation in annotations:
        annotation(Annotated)
    return Annotated(costs, device)


class TorchRecConfig(EmbeddingPerfEstimatorConfig):
    """TorchRec's default estimator, twice as fast.

    For every shard it searches all attributes in `dir` for annotated methods, nine times, which
    takes half of the time of an estimate. Here `dir` lists only annotated methods.
    """

    def __init__(self) -> None:
        super().__init__()
        self._annotated = [name for name in super().__dir__() if _is_annotated(self, name)]

    def __dir__(self) -> list[str]:
        return self._annotated


def _is_annotated(config: EmbeddingPerfEstimatorConfig, name: str) -> bool:
    """Whether it is a method with TorchRec's annotations, which are attributes of a function."""
    value = getattr(config, name, None) if not name.startswith("_") else None
    return callable(value) and bool(getattr(value, "__dict__", None))


class CalibratedConfig(TorchRecConfig):
    """Built by `calibrated_config`."""

    def __init__(self, costs: Costs, device: str) -> None:
        super().__init__()
        # by_kernel in TorchRec is by type and kernel; every type except one is fused here.
        fused, dense = _coefficients(costs.fused), _coefficients(costs.dense)
        self.coefficients = PerfCoefficientConfig(
            table_wise=fused,
            column_wise=fused,
            row_wise=fused,
            table_row_wise=fused,
            data_parallel=dense,
            bwd_compute_multiplier=costs.bwd_compute_multiplier,
            weighted_kernel_multiplier=costs.weighted_kernel_multiplier,
            weighted_feature_bwd_compute_multiplier=costs.weighted_feature_bwd_compute_multiplier,
        )
        if costs.dense_bw is not None:
            self.kernel_device_bandwidths = {(device, "dense"): costs.dense_bw * GBS}
        self._fixed = costs.fixed

    def post_process_perfs(
        self,
        shard_perfs: list[Perf],
        shard_sizes: list[list[int]],
        sharding_type: str,
        uneven_sharding_perf_multiplier: float = 1.0,
    ) -> list[Perf]:
        """TorchRec's hook for additional costs; adds the minimum cost of a shard."""
        fixed = self._fixed.model_dump()
        optimizer = fixed.pop("optimizer")
        if sharding_type == ShardingType.DATA_PARALLEL.value:
            # Its only exchange is that of the gradients of all tables.
            fixed |= {"fwd_comms": 0.0, "bwd_comms": optimizer, "input_dist_comms": 0.0}
        return [
            replace(perf, **{part: getattr(perf, part) + ms for part, ms in fixed.items()})
            for perf in shard_perfs
        ]


class SharedBandwidths(BasicCommsBandwidths):
    """TorchRec's links, with a reachable fraction for each kind of exchange."""

    def __init__(self, *, intra_bw: float, inter_bw: float, shares: Shares) -> None:
        """GB/s."""
        super().__init__(inter_host_bw=inter_bw * GBS, intra_host_bw=intra_bw * GBS)
        self._shares = shares

    def get_bw(
        self, local_world_size: int, world_size: int, collective_type: CollectiveType
    ) -> float:
        whole: float = super().get_bw(local_world_size, world_size, collective_type)
        share: float = getattr(self._shares, collective_type.value)
        return whole * share

    # The base class compares links only.
    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SharedBandwidths)
            and bool(super().__eq__(other))
            and self._shares == other._shares
        )

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._shares))


def _coefficients(kernel: KernelCosts) -> EstimatorPerfCoefficients:
    return EstimatorPerfCoefficients(
        fwd=_weights(kernel.forward), bwd=kernel.backward and _weights(kernel.backward)
    )


def _weights(weights: LookupWeights) -> Any:
    return PerfCoefficient(
        input_read_size_multiplier=weights.ids,
        lookup_size_multiplier=weights.rows,
        embedding_output_multiplier=weights.output,
    )
