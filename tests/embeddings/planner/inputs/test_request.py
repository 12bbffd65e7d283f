"""Requests whose bytes would not fit into 64 bits are refused."""

from __future__ import annotations

import pytest
from torch import nn
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.request import PlanRequest


@pytest.mark.parametrize(
    ("usage", "ids_a_row"),
    [
        (ParameterConstraints(pooling_factors=[1.0, 2.0**30]), 2.0**30 + 1),
        (ParameterConstraints(pooling_factors=[2.0, 2.0], num_poolings=[1.0, 2.0**29]), 2.0**30),
    ],
)
def test_ids_of_all_features_are_counted(usage: ParameterConstraints, ids_a_row: float) -> None:
    cluster = load_cluster("cpu-2x1")
    fits = PlanRequest(module=nn.Module(), cluster=cluster, batch_size=2**13, usage={"a": usage})
    assert 2**13 * 2 * ids_a_row < 2**45
    with pytest.raises(
        ValueError, match=r"65,536 rows on each of 2 ranks look up .* ids in a step"
    ):
        fits.changed(batch_size=2**16)
