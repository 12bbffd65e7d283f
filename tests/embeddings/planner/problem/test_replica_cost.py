"""2D parallelism: a group costs what TorchRec says of its ranks; replicas cost a ring's time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.costs import GBS
from embeddings.planner.inputs.table_list import OPTIMIZERS, ListedTable
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.pricing import price
from embeddings.planner.problem.replica_cost import shard_bytes
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of, some_cluster, stock_options

TABLES = [
    ListedTable(name="a", rows=100_000, dim=128, pooling_factor=10.0),
    ListedTable(name="b", rows=1_001, dim=64, optimizer="adagrad"),
    ListedTable(name="c", rows=5_000, dim=16, optimizer="sgd", unpooled=True),
]


@pytest.mark.parametrize(
    ("groups", "across", "hosts", "devices"),
    [(2, False, 4, 2), (4, False, 4, 1), (8, False, 2, 1), (2, True, 2, 4), (4, True, 1, 4)],
)
def test_options_cost_what_torchrec_says_of_the_groups_ranks(
    groups: int, across: bool, hosts: int, devices: int
) -> None:
    whole = some_cluster(hosts=4, devices=4, hbm_gb=40.0)
    given = TrainingSetup(
        replica_groups=groups, replicas_across_hosts=across, qcomm_forward="fp16", sync_every=4
    )
    request = request_of(TABLES, whole, setup=given)
    options = price(request).options
    # A person would give TorchRec's planner these ranks and no others.
    part = some_cluster(hosts=hosts, devices=devices, hbm_gb=40.0)
    part = part.model_copy(update={"ddr_gb": whole.ddr_gb * devices / 4})
    alone = request_of(TABLES, part, setup=TrainingSetup(qcomm_forward="fp16"))
    stock = stock_options(alone, alone.usage)
    priced = price(alone).options
    assert (options.perf == priced.perf).all()
    assert (options.memory == priced.memory).all()
    assert stock
    for theirs in stock:
        (n, *_) = (
            n
            for n, option in enumerate(options.options)
            if (options.tables[option.table].name, option.sharding_type, option.kernel)
            == (theirs.name, theirs.sharding_type, theirs.compute_kernel)
            and option.width == theirs.shards[0].size[1]
        )
        assert options.perf[n, 0, 0] == theirs.shards[0].perf.fwd_compute
        assert options.memory[n, 0].tolist() == [
            theirs.shards[0].storage.hbm, theirs.shards[0].storage.ddr, theirs.shards[0].storage.ssd
        ]  # fmt: skip


def ring_bytes(size: int, ranks: int) -> int:
    """What a rank sends in a ring all-reduce: step by step, one of `ranks` chunks at a time."""
    chunks = [len(part) for part in np.array_split(np.arange(size), ranks)]
    reduced = sum(chunks[(0 - step) % ranks] for step in range(ranks - 1))
    gathered = sum(chunks[(1 - step) % ranks] for step in range(ranks - 1))
    return reduced + gathered


@pytest.mark.parametrize(("groups", "across"), [(2, False), (4, False), (8, False), (4, True)])
def test_averaging_takes_a_rings_time_over_the_link_that_copies_have(
    groups: int, across: bool
) -> None:
    cluster = some_cluster(hosts=4, devices=4, hbm_gb=40.0)
    given = TrainingSetup(replica_groups=groups, replicas_across_hosts=across, sync_every=5)
    options = price(request_of(TABLES, cluster, setup=given)).options
    link = cluster.intra_bw if groups <= 4 and not across else cluster.inter_bw
    for n, option in enumerate(options.options):
        tensor = options.tables[option.table].tensor
        if option.sharding_type == "data_parallel":
            assert options.sync[n] == 0
            continue
        name = options.tables[option.table].name
        size = shard_bytes(name, tensor, int(options.rows[n]), option.width)
        speed = min(link, cluster.host_device_bw) if "uvm" in option.kernel else link
        wanted = ring_bytes(size, groups) / (speed * GBS) / 5
        assert options.sync[n] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["rowwise_adagrad", "adagrad", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_averaged_is_what_torchrecs_sync_takes_from_the_kernel(
    optimizer: str, dtype: torch.dtype
) -> None:
    kinds = {
        "rowwise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        "adagrad": EmbOptimType.EXACT_ADAGRAD,
        "sgd": EmbOptimType.EXACT_SGD,
    }
    from fbgemm_gpu.split_embedding_configs import SparseType

    kernel = SplitTableBatchedEmbeddingBagsCodegen(
        [(100, 32, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=kinds[optimizer],
        weights_precision=SparseType.from_dtype(dtype),
    )
    # As DMPCollection._cache_sync_tensors lists them.
    tensors = [*kernel.split_embedding_weights()]
    tensors += [state["sum"] for state in kernel.get_optimizer_state()]
    table = torch.empty(400, 64, dtype=dtype, device="meta")
    table._optimizer_classes = [OPTIMIZERS[optimizer]]  # type: ignore[attr-defined]
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert shard_bytes("t", table, rows=100, columns=32) == total


def test_an_optimizer_that_is_not_averaged_is_rejected() -> None:
    cluster = some_cluster(hosts=1, devices=4, hbm_gb=40.0)
    table = ListedTable(name="t", rows=100, dim=32, optimizer="adam")
    request = request_of([table], cluster, setup=TrainingSetup(replica_groups=2))
    with pytest.raises(ValueError, match="table 't' has optimizer Adam"):
        price(request)


def test_a_plan_with_replicas_counts_their_averaging() -> None:
    cluster = some_cluster(hosts=2, devices=4, hbm_gb=40.0)
    budget = Budget(rounds=50, seconds=10)
    times = []
    for every in (1, 10, 10_000_000):
        given = TrainingSetup(replica_groups=2, sync_every=every)
        solution = find_plan(request_of(TABLES, cluster, setup=given), budget)
        assert len(solution.memory) == 4
        times.append(solution.time)
    group = some_cluster(hosts=2, devices=2, hbm_gb=40.0)
    alone = find_plan(request_of(TABLES, group), budget)
    assert times == sorted(times, reverse=True)
    assert times[0] > alone.time
    assert times[-1] == pytest.approx(alone.time, rel=1e-3)
