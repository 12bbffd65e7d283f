"""Cost constants of a cluster beyond bandwidths, for TorchRec's estimator.

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

# TorchRec counts bandwidths in bytes a millisecond.
GBS = 1e9 / 1e3


class LookupWeights(Frozen):
    """Time of a lookup: (ids x their bytes + rows x theirs + output x its) / bandwidth."""

    ids: float = Field(default=1.0, ge=0)
    """A byte of the ids read, beside a byte of the rows read."""
    rows: float = Field(default=1.0, ge=0)
    """A byte of the rows read: 1 where the bandwidth is that of rows."""
    output: float = Field(default=1.0, ge=0)
    """A byte of the pooled output."""


class KernelCosts(Frozen):
    """A compute kernel's lookups."""

    forward: LookupWeights = LookupWeights()
    backward: LookupWeights | None = None
    """With the optimizer, if fused; unset: forward x `bwd_compute_multiplier`."""


class Shares(Frozen):
    """The part of a link's bandwidth (intra_bw, inter_bw) that each exchange reaches."""

    all_to_all: float = Field(default=1.0, gt=0)
    """Outputs of table-wise and column-wise tables, and ids."""
    reduce_scatter: float = Field(default=1.0, gt=0)
    """Outputs of row-wise tables."""
    all_gather: float = Field(default=1.0, gt=0)
    """Gradients of row-wise tables."""
    all_reduce: float = Field(default=1.0, gt=0)
    """Gradients of data-parallel tables; TorchRec's whole is inter_bw x devices of a host."""


class FixedCosts(Frozen):
    """Milliseconds that a shard costs its rank however little it does. TorchRec has none."""

    fwd_compute: float = Field(default=0.0, ge=0)
    fwd_comms: float = Field(default=0.0, ge=0)
    bwd_compute: float = Field(default=0.0, ge=0)
    bwd_comms: float = Field(default=0.0, ge=0)
    input_dist_comms: float = Field(default=0.0, ge=0)
    optimizer: float = Field(default=0.0, ge=0)
    """Of a data-parallel table, whose optimizer is a step of its own; counted in bwd_comms."""


class StartCost(Frozen):
    """Milliseconds of a step, by part."""

    fwd_compute: float = Field(default=0.0, ge=0)
    fwd_comms: float = Field(default=0.0, ge=0)
    bwd_compute: float = Field(default=0.0, ge=0)
    bwd_comms: float = Field(default=0.0, ge=0)
    input_dist_comms: float = Field(default=0.0, ge=0)


class StartCosts(Frozen):
    """What each sharding type of a plan costs every rank, however small its tables are: its kernel
    launches and its collectives.

    TorchRec does not model this. The search adds it to the time of the busiest rank, so that small
    tables share a sharding type instead of each taking the type that is cheapest for it alone.
    """

    sharded: StartCost = StartCost()
    """Of each type except data-parallel."""
    copied: StartCost = StartCost()
    """Of all data-parallel tables together."""

    def by_part(self, types: Iterable[str], ranks: int) -> dict[str, float]:
        """Milliseconds by part of a plan that uses `types`. One rank alone exchanges nothing."""
        total = dict.fromkeys(StartCost.model_fields, 0.0)
        for sharding_type in set(types):
            copied = sharding_type == ShardingType.DATA_PARALLEL.value
            for part, ms in (self.copied if copied else self.sharded).model_dump().items():
                if ranks > 1 or not part.endswith("comms"):
                    total[part] += ms
        return total


class Costs(Frozen):
    """Constants of a cluster. Left out: as TorchRec has it."""

    fused: KernelCosts = KernelCosts()
    """Tables whose optimizer is in their backward (all but data-parallel ones)."""
    dense: KernelCosts = KernelCosts()
    """Data-parallel tables."""
    dense_bw: float | None = Field(default=None, gt=0)
    """GB/s of the dense kernel, whose optimizer reads and writes a table 9.22 times a step in
    TorchRec's count; unset: half of the memory's."""
    block_penalty: bool = True
    """Whether tables narrower than 128 take 1.15 (from 64 on) or 1.75 times as long in forward, and
    those narrower than 32 read as if they had 32, as GPU kernels do."""
    id_bytes: float = Field(default=float(BIGINT_DTYPE), gt=0)
    """Bytes that an id counts for: 8, more where sending ids takes more than their bytes."""
    shares: Shares = Shares()
    fixed: FixedCosts = FixedCosts()
    starts: StartCosts = StartCosts()
    bwd_compute_multiplier: float = Field(default=float(BWD_COMPUTE_MULTIPLIER), gt=0)
    """Backward over forward lookup, where `backward` is unset."""
    weighted_feature_bwd_compute_multiplier: float = Field(
        default=float(WEIGHTED_FEATURE_BWD_COMPUTE_MULTIPLIER), gt=0
    )
    """The same for tables whose ids carry weights, on top."""
    weighted_kernel_multiplier: float = Field(default=WEIGHTED_KERNEL_MULTIPLIER, ge=0)
    """Gradient of these weights, over the forward lookup."""


def calibrated_config(costs: Costs, device: str) -> EmbeddingPerfEstimatorConfig:
    """TorchRec's default estimator with other constants; some are annotations of a class."""
    annotations = [input_data_type_size(costs.id_bytes)]
    if not costs.block_penalty:
        annotations += [use_block_usage_penalty(False), use_min_dim_for_lookup(False)]

    class Annotated(CalibratedConfig):
        pass

    for annotation in annotations:
        annotation(Annotated)
    return Annotated(costs, device)


class TorchRecConfig(EmbeddingPerfEstimatorConfig):
    """TorchRec's default estimator. For every shard it searches all that `dir` names for methods
    with an annotation, nine times: half of the time of an estimate. Here `dir` names those alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._annotated = [name for name in super().__dir__() if _is_annotated(self, name)]

    def __dir__(self) -> list[str]:
        return self._annotated


def _is_annotated(config: EmbeddingPerfEstimatorConfig, name: str) -> bool:
    """TorchRec's annotations are attributes of a function."""
    value = getattr(config, name, None) if not name.startswith("_") else None
    return callable(value) and bool(getattr(value, "__dict__", None))


class CalibratedConfig(TorchRecConfig):
    """Built by `calibrated_config`."""

    def __init__(self, costs: Costs, device: str) -> None:
        super().__init__()
        # by_kernel in TorchRec is by type and kernel; every type but one is fused here.
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
        """TorchRec's hook for what its formulas leave out: here what a shard costs at least."""
        fixed = self._fixed.model_dump()
        optimizer = fixed.pop("optimizer")
        if sharding_type == ShardingType.DATA_PARALLEL.value:
            # Its one exchange is of all tables' gradients together.
            fixed |= {"fwd_comms": 0.0, "bwd_comms": optimizer, "input_dist_comms": 0.0}
        return [
            replace(perf, **{part: getattr(perf, part) + ms for part, ms in fixed.items()})
            for perf in shard_perfs
        ]


class SharedBandwidths(BasicCommsBandwidths):
    """TorchRec's links, of which each kind of exchange reaches a part."""

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

    # The base class compares links alone.
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
