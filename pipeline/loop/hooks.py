"""The hooks of a run, in the order of calls."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.checkpoint.save import Checkpoints
from pipeline.expert_health.probes import ExpertProbe
from pipeline.faults.bad_step_policy import BadStepPolicy
from pipeline.faults.finite_weights import FiniteWeights
from pipeline.faults.replica_consistency import ReplicaConsistency
from pipeline.faults.stragglers import Stragglers
from pipeline.loop.run import Run
from pipeline.loop.segments import Segments
from pipeline.tracking.monitor import Monitor
from pipeline.tracking.tracker import Tracker
from pipeline.training.hooks import Hook, Hooks
from pipeline.training.replica_groups import ReplicaGroupSync
from pipeline.training.tower_hooks import BufferSync, EmaUpdate


def all_hooks(
    run: Run,
    segments: Segments,
    tracker: Tracker,
    checkpoints: Checkpoints,
    others: Sequence[Hook] = (),
) -> Hook:
    """Return the configured hooks, then `others`. BadStepPolicy calls those that use the
    verdict on a step; the ones before it act on every step at once."""
    config, world, model = run.config, run.world, run.parallel.model
    head, optimizer = run.step.model.head, run.parallel.optimizer
    tasks = run.data.chosen.tasks
    rates = {task: run.data.schema.rate(task) for task in tasks}
    probe = ExpertProbe(head, tracker, rates, config.expert_health.probe_every, run.progress.norms)
    monitor = Monitor(
        tracker,
        run.windowed,
        tasks,
        world,
        batch_size=run.rows.per_rank * world.size,
        log_every=config.train.log_every,
        last=run.end,
        schedule=run.schedule,
        rates={"dense": config.dense.lr, "sparse": config.sparse.lr},
        log_task_weights=config.loss.balance.kind != "fixed",
    )
    every = config.debug.check_replica_consistency
    policy = BadStepPolicy(
        run.guard,
        config.faults,
        world,
        tasks,
        run.folder / "debug",
        segments.in_flight.where,
        lambda: run.roll_back(checkpoints),
        [
            Stragglers(config.faults, world, lambda: run.guard.seconds),
            probe,
            monitor,
            ReplicaConsistency(model, optimizer, world, every),
            FiniteWeights(model, world),
            BufferSync(head),
            *others,
        ],
    )
    return Hooks(
        [ReplicaGroupSync(model, config.sharding), run.guard, EmaUpdate(head, optimizer), policy]
    )
