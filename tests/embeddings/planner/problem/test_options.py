"""Options as arrays say what TorchRec's own enumerator and estimators say."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.options import PARTS
from embeddings.planner.problem.pricing import all_options, price
from tests.embeddings.planner.models import (
    clusters,
    listed_tables,
    request_of,
    setup,
    stock_cache,
    stock_options,
)


@given(listed_tables(), clusters(), setup())
@settings(max_examples=20, deadline=None)
def test_every_stock_option_is_there_with_the_same_costs(
    tables: list[ListedTable], cluster: Cluster, given: TrainingSetup
) -> None:
    # All of a device may be kept from tables, which is no matter of options.
    request = request_of(tables, cluster, setup=given)
    _, options = all_options(request)
    ours = {}
    for n, option in enumerate(options.options):
        name = options.tables[option.table].name
        ours[name, option.sharding_type, option.kernel, int(options.blocks[n])] = n
    known = {
        name: dataclasses.replace(use, cache_params=stock_cache(request, name))
        for name, use in request.usage.items()
    }
    stock = stock_options(request, known)
    assert stock
    for theirs in stock:
        blocks = theirs.tensor.shape[1] // theirs.shards[0].size[1]
        n = ours[theirs.name, theirs.sharding_type, theirs.compute_kernel, blocks]
        sizes = np.repeat(np.arange(3), options.counts[n])
        expected = np.tile(sizes, blocks)
        assert len(theirs.shards) == len(expected)
        for shard, size in zip(theirs.shards, expected, strict=True):
            assert [getattr(shard.perf, part) for part in PARTS] == options.perf[n, 0].tolist()
            assert [shard.storage.hbm, shard.storage.ddr, shard.storage.ssd] == options.memory[
                n, size
            ].tolist()


def test_wider_column_shards_than_the_narrowest_are_offered_too() -> None:
    table = ListedTable(name="wide", rows=1000, dim=512)
    cluster = Cluster(
        hosts=1, devices_per_host=4, device="cpu", ddr_gb=64, ddr_bw=10, intra_bw=2, inter_bw=1,
        host_device_bw=10,
    )  # fmt: skip
    options = price(request_of([table], cluster)).options
    widths = {o.width for o in options.options if o.sharding_type == "column_wise"}
    assert widths == {128, 256}


def test_a_table_in_fp16_costs_what_it_costs_when_stored_so() -> None:
    cluster = Cluster(
        hosts=1, devices_per_host=4, device="cpu", ddr_gb=64, ddr_bw=10, intra_bw=2, inter_bw=1,
        host_device_bw=10,
    )  # fmt: skip
    full = ListedTable(name="t", rows=1000, dim=64)
    half = full.model_copy(update={"dtype": "fp16"})
    taken = price(request_of([full], cluster, half=frozenset({"t"}))).options
    stored = price(request_of([half], cluster)).options
    assert (taken.perf == stored.perf).all()
    assert (taken.memory == stored.memory).all()


def test_two_tables_of_one_name_are_rejected() -> None:
    from torch import nn

    from embeddings.planner.inputs.table_list import build_module

    cluster = Cluster(
        hosts=1, devices_per_host=1, device="cpu", ddr_gb=64, ddr_bw=10, intra_bw=2, inter_bw=1,
        host_device_bw=10,
    )  # fmt: skip
    table = ListedTable(name="t", rows=10, dim=4)
    request = request_of([table], cluster)
    twice = nn.ModuleList([build_module([table]), build_module([table])])
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"two tables .* the same name"):
        price(request.changed(module=twice))
