"""TorchRec's planner is asked for the devices that there are."""

from __future__ import annotations

import torch
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.table_list import ListedTable, build_module
from embeddings.planner.inputs.torchrec_log import torchrec_silenced
from embeddings.planner.plans.stock_plan import make_plan
from embeddings.sharders import all_sharders


def test_tables_may_fill_the_device_that_there_is() -> None:
    """TorchRec's planner takes every GPU for one of 32 GiB; 48 GiB of rows fit on one of 80."""
    listed = ListedTable(name="t", rows=200_000_000, dim=64)

    def kernel(gib: int) -> str:
        with torchrec_silenced():
            plan = make_plan(
                build_module([listed]),
                {"t": ParameterConstraints(sharding_types=["table_wise"])},
                sharders=all_sharders(),
                batch_size=64,
                world_size=2,
                local_world_size=2,
                device=torch.device("cuda"),
                seconds=60,
                hbm_bytes=gib * 2**30,
            )
        (module,) = plan.plan.values()
        return str(module["t"].compute_kernel)

    assert kernel(80) == "fused"
    assert "uvm" in kernel(32)
