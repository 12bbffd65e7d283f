"""Alternatives for one table: the plan's time if only this table is placed differently."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torchrec.distributed.planner.constants import MIN_CW_DIM

from embeddings.config import SHARDING_TYPES
from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import build_module, usage
from embeddings.planner.inputs.torchrec_log import torchrec_silenced
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import Options
from embeddings.planner.problem.pricing import all_options
from embeddings.planner.problem.problem import EVERYWHERE, FREE, HOST_ROWS, LAYOUTS, rated, shard_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """An option of a table. Milliseconds and bytes."""

    sharding_type: str
    kernel: str
    width: int
    """Columns of a shard."""
    shards: int
    perf: FloatArray
    """[6] milliseconds of its slowest shard, by PARTS."""
    memory: IntArray
    """[3] bytes of its largest shard, by MEMORIES."""
    sync: float
    """Milliseconds of a shard's replicas."""
    allowed: bool
    """Whether the plan's rules allow it."""
    chosen: bool
    plan_ms: float | None
    """The plan's objective with this option and its shards on the least loaded ranks with room,
    other tables unchanged; None if it does not fit."""

    @property
    def shard_ms(self) -> float:
        return float(rated(self.perf)) + self.sync


def alternatives(file: PlanFile, name: str) -> list[Alternative]:
    """Return all options of a table, fastest plans first; options that do not fit come last.

    Raises ValueError for a table that is not in the plan.
    """
    placed = file.find(name)
    options = _options(file, name)
    mine = [n for n, option in enumerate(options.options) if _is_current(file, name, options, n)]
    assert len(mine) == 1, f"{name}: {len(mine)} options are the chosen one"
    load, (used, room) = file.rated(), file.memory()
    time = shard_ms(options)[:, options.kind]
    ranks = np.array(placed.rank_list())
    np.subtract.at(load, ranks, time[mine[0], ranks])
    np.subtract.at(used, ranks, options.shard_memory(mine[0]))
    rules = [rule for rule in file.rules if rule.matches(name)]
    others = [other.sharding_type for other in file.tables if other.table.name != name]
    found = []
    for n, option in enumerate(options.options):
        where = ranks if n == mine[0] else _place(options, n, time[n], load, room - used, file)
        after = load.copy()
        if where is not None:
            np.add.at(after, where, time[n, where])
        candidates = np.arange(len(load)) if where is None else where
        slowest = candidates[time[n, candidates].argmax()]
        found.append(
            Alternative(
                sharding_type=option.sharding_type,
                kernel=option.kernel,
                width=option.width,
                shards=len(options.shard_memory(n)),
                perf=options.perf[n, options.kind[slowest]],
                memory=options.memory[n].max(axis=0),
                sync=float(options.sync[n]),
                allowed=all(
                    rule.allows(option.sharding_type, option.kernel, option.width) for rule in rules
                ),
                chosen=n == mine[0],
                plan_ms=None
                if where is None
                else float(after.max()) + file.cluster.start_ms([*others, option.sharding_type]),
            )
        )
    return sorted(found, key=lambda one: (one.plan_ms is None, one.plan_ms or 0.0, not one.chosen))


def why(file: PlanFile, name: str, found: Sequence[Alternative]) -> str:
    """Explain in one sentence why the option was chosen."""
    possible = [one for one in found if one.allowed and one.plan_ms is not None]
    others = [one for one in possible if not one.chosen]
    if not others:
        return "It is the only option that the rules allow and that fits."
    best = others[0]
    assert best.plan_ms is not None
    other = f"{best.sharding_type} {best.kernel}, {best.width} columns"
    if best.plan_ms > file.objective_ms() * (1 + 1e-9):
        return (
            f"Every other option makes the busiest rank slower, the next best ({other}) by "
            f"{100 * (best.plan_ms / file.objective_ms() - 1):.3g}%."
        )
    if best.plan_ms < file.objective_ms() * (1 - 1e-9):
        return (
            f"{other} would make the busiest rank faster ({best.plan_ms:.4g} ms): the search did "
            "not find it (try more --rounds), or the settings exclude it (sharding.types of a run)."
        )
    busiest = int(file.rated().argmax()) in file.find(name).rank_list()
    reason = (
        "no option makes the busiest rank faster"
        if busiest
        else "another rank is the busiest, so this table does not matter"
    )
    return f"{other} would be equally good ({best.plan_ms:.4g} ms): {reason}."


def _options(file: PlanFile, name: str) -> Options:
    """Recompute the options of one table with TorchRec."""
    placed = file.find(name)
    # Include options excluded by the run or a rule, and those that TorchRec offers only because a
    # rule names them. Columns are at least as wide as TorchRec's minimum or the plan's.
    known = {
        key: dataclasses.replace(
            value, sharding_types=list(SHARDING_TYPES), min_partition=_narrowest(placed)
        )
        for key, value in usage([placed.table]).items()
    }
    request = PlanRequest(
        module=build_module([placed.table]),
        cluster=file.full_cluster or file.cluster,
        batch_size=file.batch_size,
        usage=known,
        rules=file.rules,
        setup=file.setup,
    )
    with torchrec_silenced():
        return all_options(request)[1]


def _narrowest(placed: PlacedTable) -> int | None:
    least = placed.table.min_partition
    return placed.width if placed.width < min(placed.table.dim, least or MIN_CW_DIM) else least


def _is_current(file: PlanFile, name: str, options: Options, n: int) -> bool:
    placed, option = file.find(name), options.options[n]
    return (option.sharding_type, option.kernel, option.width) == (
        placed.sharding_type,
        placed.compute_kernel,
        placed.width,
    )


def _place(
    options: Options, n: int, time: FloatArray, load: FloatArray, free: IntArray, file: PlanFile
) -> IntArray | None:
    """Place shards block by block, keeping the busiest rank minimal; None if they do not fit.

    `time`: [R] milliseconds of a shard on every rank.
    """
    layout = LAYOUTS[options.options[n].sharding_type]
    world, local = file.cluster.ranks, file.cluster.devices_per_host
    needs = options.shard_memory(n)
    everyone = np.arange(world)
    if layout == EVERYWHERE:
        return everyone if (free >= needs).all() else None
    if layout == HOST_ROWS:
        hosts = everyone.reshape(-1, local)
        blocks = needs.reshape(-1, local, needs.shape[1])
        chosen = _greedy(blocks, hosts, time, load, free)
        return None if chosen is None else hosts[chosen].reshape(-1)
    if layout == FREE:
        return _greedy(needs[:, None, :], everyone[:, None], time, load, free)
    best: IntArray | None = None
    least = np.inf
    for host in everyone.reshape(-1, local):
        inside = _greedy(needs[:, None, :], host[:, None], time, load, free)
        if inside is None:
            continue
        after = load.copy()
        np.add.at(after, host[inside], time[host[inside]])
        if after.max() < least:
            least, best = float(after.max()), host[inside]
    return best


def _greedy(
    blocks: IntArray, sites: IntArray, time: FloatArray, load: FloatArray, free: IntArray
) -> IntArray | None:
    """Return the site of every block, [B]. `blocks`: [B, W, 3] bytes; `sites`: [P, W] ranks."""
    load, free = load.copy(), free.copy()
    chosen = []
    for needs in blocks:
        fits = (free[sites] >= needs).all(axis=(1, 2))
        if not fits.any():
            return None
        site = int(np.where(fits, (load + time)[sites].max(axis=1), np.inf).argmin())
        chosen.append(site)
        load[sites[site]] += time[sites[site]]
        free[sites[site]] -= needs
    return np.array(chosen, np.int64)
