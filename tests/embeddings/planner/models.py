"""Random models, clusters, and TorchRec's own view of a plan."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torchrec.distributed.fbgemm_qcomm_codec import (
    CommType,
    QCommsConfig,
    get_qcomm_codecs_registry,
)
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.shard_estimators import (
    EmbeddingPerfEstimator,
    EmbeddingStorageEstimator,
)
from torchrec.distributed.planner.storage_reservations import (
    FixedAbsoluteStorageReservation,
    FixedPercentageStorageReservation,
    HeuristicalStorageReservation,
)
from torchrec.distributed.planner.types import (
    ParameterConstraints,
    ShardingOption,
    StorageReservation,
)
from torchrec.distributed.types import CacheParams, PipelineType

from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import CacheUse, ListedTable, build_module, usage
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.plans.solution import Solution
from embeddings.sharders import AllShardingTypes, AllUnpooledTypes

DIMS = (4, 16, 64, 128, 256, 384)


@st.composite
def listed_tables(draw: st.DrawFn, most: int = 5, *, plain: bool = False) -> list[ListedTable]:
    """Up to `most` tables; `plain`: bags without weights alone."""
    tables = []
    for i in range(draw(st.integers(1, most))):
        features = draw(st.integers(1, 2))
        kind = "bag" if plain else draw(st.sampled_from(["bag", "bag", "weighted", "unpooled"]))
        tables.append(
            ListedTable(
                name=f"t{i}",
                rows=draw(st.one_of(st.integers(1, 40), st.integers(1000, 50_000_000))),
                dim=draw(st.sampled_from(DIMS)),
                dtype=draw(st.sampled_from(["fp32", "fp16"])),
                features=tuple(f"t{i}_f{j}" for j in range(features)),
                pooling_factor=draw(st.sampled_from([0.5, 1.0, 3.0, 80.0])),
                num_poolings=draw(st.sampled_from([1.0, 2.0])),
                optimizer=draw(st.sampled_from(["rowwise_adagrad", "adam", "sgd"])),
                weighted=kind == "weighted",
                unpooled=kind == "unpooled",
                cache=draw(st.one_of(st.none(), st.builds(
                    CacheUse,
                    load_factor=st.sampled_from([0.001, 0.1, 1.0]),
                    distinct=st.sampled_from([0.0, 90.5, 1e6]),
                    miss_rate=st.sampled_from([0.0, 0.25, 1.0]),
                ))),
            )
        )  # fmt: skip
    return tables


@st.composite
def setup(draw: st.DrawFn) -> TrainingSetup:
    """Any but replicas, which TorchRec's planner knows nothing of."""
    precision = st.sampled_from(["fp32", "fp16", "bf16", "fp8", "int8"])
    reserve = draw(st.sampled_from(["heuristic", "fixed_percentage", "fixed_absolute"]))
    return TrainingSetup(
        qcomm_forward=draw(precision),
        qcomm_backward=draw(precision),
        pipeline=draw(st.sampled_from(["none", "sparse_dist", "prefetch"])),
        reserve=reserve,
        reserve_share=draw(st.sampled_from([0.0, 0.4])),
        reserve_gib=draw(st.sampled_from([0.0, 3.0])),
        dense_gib=draw(st.sampled_from([None, 2.0])) if reserve == "heuristic" else None,
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """A few hosts of a few devices, large enough for the tables above."""
    device = draw(st.sampled_from(["cuda", "cpu"]))
    return some_cluster(
        hosts=draw(st.sampled_from([1, 2, 3])),
        devices=draw(st.sampled_from([1, 2, 4])),
        hbm_gb=draw(st.sampled_from([40.0, 400.0])) if device == "cuda" else 0.0,
        inter_bw=draw(st.sampled_from([12.5, 50.0])),
    )


def some_cluster(*, hosts: int, devices: int, hbm_gb: float, inter_bw: float = 12.5) -> Cluster:
    """Of CPUs if there is no HBM."""
    return Cluster(
        hosts=hosts,
        devices_per_host=devices,
        device="cuda" if hbm_gb else "cpu",
        hbm_gb=hbm_gb,
        ddr_gb=4000.0,
        hbm_bw=1500.0 if hbm_gb else 0.0,
        ddr_bw=50.0,
        intra_bw=300.0,
        inter_bw=inter_bw,
        host_device_bw=30.0,
    )


def uncalibrated(preset: str) -> Cluster:
    """A preset with TorchRec's constants."""
    return load_cluster(preset).model_copy(update={"costs": None})


def request_of(tables: Sequence[ListedTable], cluster: Cluster, **fields: Any) -> PlanRequest:
    return PlanRequest(
        module=build_module(tables),
        cluster=cluster,
        batch_size=fields.pop("batch_size", 512),
        usage=usage(tables),
        **fields,
    )


def stock_sharders(request: PlanRequest) -> list[Any]:
    """With TorchRec's codecs for what the request sends."""
    config = QCommsConfig(
        forward_precision=CommType(request.setup.qcomm_forward),
        backward_precision=CommType(request.setup.qcomm_backward),
    )
    codecs = get_qcomm_codecs_registry(config, device=torch.device(request.cluster.device))
    return [
        AllShardingTypes(qcomm_codecs_registry=codecs),
        AllUnpooledTypes(qcomm_codecs_registry=codecs),
    ]


def stock_options(
    request: PlanRequest, constraints: Mapping[str, ParameterConstraints]
) -> list[ShardingOption]:
    """What TorchRec's own enumerator and its default estimators say."""
    topology, known = request.cluster.topology(), dict(constraints)
    pipeline = {
        "none": PipelineType.NONE,
        "sparse_dist": PipelineType.TRAIN_SPARSE_DIST,
        "prefetch": PipelineType.TRAIN_PREFETCH_SPARSE_DIST,
    }[request.setup.pipeline]
    estimators = [
        EmbeddingPerfEstimator(topology, known),
        EmbeddingStorageEstimator(topology, known, pipeline_type=pipeline),
    ]
    enumerator = EmbeddingEnumerator(topology, request.batch_size, known, estimators)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Dim of .* cannot be evenly divided")
        found: list[ShardingOption] = enumerator.enumerate(request.module, stock_sharders(request))
    return found


def stock_reservation(request: PlanRequest) -> StorageReservation:
    """TorchRec's own, for the request's setup."""
    given = request.setup
    if given.reserve == "fixed_percentage":
        return FixedPercentageStorageReservation(given.reserve_share)
    if given.reserve == "fixed_absolute":
        return FixedAbsoluteStorageReservation.from_gb(given.reserve_gib)
    return HeuristicalStorageReservation(
        given.reserve_share,
        dense_tensor_estimate=given.dense_gib and int(given.dense_gib * 2**30),
    )


def stock_cache(request: PlanRequest, table: str) -> CacheParams | None:
    """A cache as a person would describe it to TorchRec."""
    known = request.usage[table].cache_params
    if request.setup.pipeline != "prefetch":
        return known
    return CacheParams(
        load_factor=known and known.load_factor,
        stats=known and known.stats,
        prefetch_pipeline=True,
    )


def stock_view(request: PlanRequest, solution: Solution) -> dict[str, ShardingOption]:
    """TorchRec's own option of each table of a plan, by name, with the plan's ranks on it."""
    constraints = {}
    for choice in solution.choices:
        known = request.usage[choice.table]
        constraints[choice.table] = ParameterConstraints(
            sharding_types=[choice.sharding_type],
            compute_kernels=[choice.kernel],
            min_partition=choice.width,
            pooling_factors=known.pooling_factors,
            num_poolings=known.num_poolings,
            is_weighted=known.is_weighted,
            cache_params=stock_cache(request, choice.table),
        )
    options = stock_options(request, constraints)
    by_name = {option.name: option for option in options}
    assert len(by_name) == len(options)
    for choice in solution.choices:
        shards = by_name[choice.table].shards
        assert len(shards) == len(choice.ranks)
        for shard, rank in zip(shards, choice.ranks, strict=True):
            shard.rank = rank
    return by_name
