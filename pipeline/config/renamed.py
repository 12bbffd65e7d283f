"""Fields that had another name in an earlier version: refused, with the present name as a hint."""

from __future__ import annotations

_RENAMED = {
    "sparse.renew_rows": "sparse.reset_min_rows",
    "train.average": "train.ema_decay",
    "train.micro_batch": "train.micro_batch_size",
    "train.ranks": "train.base_world_size",
    "model.tower.num_own_experts": "model.tower.num_task_specific_experts",
    "health": "expert_health",
    "health.every": "expert_health.probe_every",
    "watch": "faults",
    "watch.on_nonfinite": "faults.on_nonfinite",
    "watch.on_spike": "faults.on_loss_spike",
    "watch.spike_k": "faults.spike_mad",
    "watch.spike_window": "faults.spike_window",
    "watch.limit": "faults.max_skipped",
    "watch.slow_factor": "faults.straggler_factor",
    "watch.slow_window": "faults.straggler_window",
    "debug.check_replicas": "debug.check_replica_consistency",
    "checkpoint.delta_every": "checkpoint.incremental_every",
}


def renamed(field: str) -> str | None:
    """What to say of an earlier version's `field`, else None."""
    now = _RENAMED.get(field)
    return None if now is None else f"{field!r} is an earlier version's name; use {now!r}"
