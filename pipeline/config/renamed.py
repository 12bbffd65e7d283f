"""Fields with different names in older versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RENAMED = {
    "checkpoint.delta_every": "checkpoint.incremental_every",
    "debug.check_replicas": "debug.check_replica_consistency",
    "health": "expert_health",
    "health.every": "expert_health.probe_every",
    "model.tower.normalisation": "model.tower.normalization",
    "model.tower.num_own_experts": "model.tower.num_task_specific_experts",
    "sparse.renew_rows": "sparse.reset_min_rows",
    "train.average": "train.ema_decay",
    "train.micro_batch": "train.micro_batch_size",
    "train.ranks": "train.base_world_size",
    "watch": "faults",
    "watch.limit": "faults.max_skipped",
    "watch.on_nonfinite": "faults.on_nonfinite",
    "watch.on_spike": "faults.on_loss_spike",
    "watch.slow_factor": "faults.straggler_factor",
    "watch.slow_window": "faults.straggler_window",
    "watch.spike_k": "faults.spike_mad",
    "watch.spike_window": "faults.spike_window",
}


def renamed(field: str) -> str | None:
    """Return the current name of `field`, or None if it was not renamed."""
    return _RENAMED.get(field)


def old_name_in(tree: Mapping[str, Any], prefix: str = "") -> str | None:
    """Return the first renamed field of `tree`. A field comes before its section."""
    for key, value in tree.items():
        field = f"{prefix}{key}"
        if isinstance(value, Mapping) and (found := old_name_in(value, f"{field}.")):
            return found
        if field in _RENAMED:
            return field
    return None
