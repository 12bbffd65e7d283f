"""TorchRec's own planner, with what ours assumes, for comparison."""

from __future__ import annotations

from torchrec.distributed.planner import EmbeddingShardingPlanner
from torchrec.distributed.planner.types import PlannerError

from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.training_setup import TrainingSetup


def stock_planner(request: PlanRequest, seconds: int | None = None) -> EmbeddingShardingPlanner:
    """Return the planner; after `seconds` it takes the best plan so far."""
    return EmbeddingShardingPlanner(
        topology=request.cluster.topology(),
        batch_size=request.batch_size,
        constraints=dict(request.usage),
        storage_reservation=TrainingSetup().reservation(),
        debug=False,
        stats=[],
        timeout_seconds=seconds,
    )


def stock_ms(planner: EmbeddingShardingPlanner, request: PlanRequest) -> float | None:
    """Plan, and return TorchRec's rating of its plan in milliseconds; None if it finds none."""
    try:
        planner.plan(request.module, list(request.sharders))
    except PlannerError:
        return None
    return float(planner._perf_model.rate(planner._best_plan))
