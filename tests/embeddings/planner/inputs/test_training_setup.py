"""TrainingSetup: replica groups are the ones TorchRec forms; what makes no sense is rejected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.files import validate
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.inputs.training_setup import TrainingSetup
from embeddings.planner.problem.pricing import reserve
from tests.embeddings.planner.models import (
    clusters,
    listed_tables,
    request_of,
    setup,
    some_cluster,
    stock_reservation,
    stock_sharders,
)


def formed(world: int, groups: int, across: bool) -> list[list[int]]:
    """Ranks of each group, as DMPCollection._create_process_groups (TorchRec 1.8) forms them."""
    size = world // groups
    if across:
        return [list(range(first, first + size)) for first in range(0, world, size)]
    return [[groups * n + group for n in range(size)] for group in range(groups)]


@given(st.integers(1, 6), st.integers(1, 8), st.integers(2, 24), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_group_has_the_hosts_that_torchrec_gives_it(
    hosts: int, local: int, groups: int, across: bool
) -> None:
    cluster = some_cluster(hosts=hosts, devices=local, hbm_gb=40.0)
    world = hosts * local
    ranks = [] if world % groups else formed(world, groups, across)
    spread = [[rank // local for rank in group] for group in ranks]
    per_host = {on.count(host) for on in spread for host in on}
    given = TrainingSetup(replica_groups=groups, replicas_across_hosts=across)
    if len(per_host) != 1:
        with pytest.raises(ValueError, match=f"replica_groups: {groups} groups do not split"):
            given.group(cluster)
        return
    group = given.group(cluster)
    assert {group.devices_per_host} == per_host
    assert {len(set(on)) for on in spread} == {group.hosts}
    # Its rank n is on its host n // devices_per_host, as plans take it.
    for on in spread:
        assert on == sorted(on)
    whole, part = cluster.topology().devices[0].storage, group.topology().devices[0].storage
    assert part.hbm == whole.hbm
    assert part.ddr == pytest.approx(whole.ddr, abs=1)
    copies = zip(*ranks, strict=True)
    inside = all(len({rank // local for rank in shard}) == 1 for shard in copies)
    assert given.copies_within_host(cluster) == inside


@given(listed_tables(), clusters(), setup())
@settings(max_examples=40, deadline=None)
@example(
    [ListedTable(name="t", rows=10, dim=4)],
    some_cluster(hosts=1, devices=2, hbm_gb=40.0),
    TrainingSetup(reserve="fixed_absolute", reserve_gib=3.0),
)
@example(
    [ListedTable(name="t", rows=10, dim=4)],
    some_cluster(hosts=1, devices=2, hbm_gb=40.0),
    TrainingSetup(reserve="heuristic", dense_gib=2.0),
)
def test_ranks_have_what_torchrecs_reservation_leaves_them(
    tables: list[ListedTable], cluster: Cluster, given: TrainingSetup
) -> None:
    request = request_of(tables, cluster, setup=given)
    # Dense weights beside the tables.
    module = nn.ModuleDict(
        {"tables": request.module, "tower": nn.Linear(1000, 1000, device="meta")}
    )
    request = request.changed(module=module)
    theirs = stock_reservation(request).reserve(
        cluster.topology(), request.batch_size, module, stock_sharders(request), dict(request.usage)
    )
    ours = reserve(request)
    assert [device.storage for device in ours.devices] == [
        device.storage for device in theirs.devices
    ]


def test_replica_groups_are_formed_on_cpu_too() -> None:
    cluster = some_cluster(hosts=2, devices=2, hbm_gb=0.0)
    group = TrainingSetup(replica_groups=2).group(cluster)
    assert (group.hosts, group.devices_per_host, group.device) == (2, 1, "cpu")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"qcomm_forward": "fp4"}, "qcomm_forward: 'fp4'"),
        ({"pipeline": "dense"}, "pipeline: 'dense'"),
        ({"reserve_share": 1.5}, "reserve_share: 1.5"),
        (
            {"reserve": "fixed_absolute", "dense_gib": 2.0},
            "dense_gib: not used with fixed_absolute",
        ),
        ({"sync_every": 0}, "sync_every: 0"),
        ({"replicas": 2}, "replicas"),
    ],
)
def test_what_makes_no_sense_is_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        validate(TrainingSetup, fields, "setup")
    assert "\n" not in str(caught.value)
