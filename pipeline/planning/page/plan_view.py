"""A plan with derived values for the page: loads, bytes of tables, a summary."""

from __future__ import annotations

import shlex

import numpy as np

from embeddings.planner.advice.alternatives import Alternative, alternatives, why
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import bytes_of
from embeddings.planner.plans.storage import fullest
from embeddings.planner.problem.options import MEMORIES, PARTS
from pipeline.io.json_types import Json
from pipeline.planning.page.numbers import change, memory, milliseconds, number, percent, plural

Summary = list[tuple[str, str]]

PART_TITLES = {
    "fwd_compute": "forward compute",
    "fwd_comms": "forward comms",
    "bwd_compute": "backward compute",
    "bwd_comms": "backward comms",
    "prefetch_compute": "prefetch",
    "sync": "replica synchronization",
    "input_dist_comms": "input exchange",
}


class PlanView:
    """A plan and its name. Milliseconds and bytes; arrays are indexed by rank or by table."""

    def __init__(self, name: str, file: PlanFile) -> None:
        self.name, self.file = name, file
        self.world = file.cluster.ranks
        self.local = file.cluster.devices_per_host
        self.load = file.rated()
        self.mean = float(self.load.mean())
        self.busiest = int(self.load.argmax())
        self.used, self.room = file.memory()
        self.fullest = fullest(self.used, self.room)
        times = [file.shard_times(one) for one in file.tables]
        self.took = np.array([time.sum() for time in times])
        self.slowest = np.array([time.max() for time in times])
        self.bytes = np.array([_bytes(one) for one in file.tables])

    @property
    def imbalance(self) -> float:
        return float(self.load[self.busiest]) / self.mean if self.mean else 1.0

    def memories(self) -> list[tuple[str, int]]:
        """Return name and column of each memory that the cluster has and the plan uses."""
        return [
            (name, i)
            for i, name in enumerate(MEMORIES)
            if self.room[:, i].max() > 0 and self.used[:, i].max() > 0
        ]

    def rank_name(self, rank: int) -> str:
        return (
            f"rank {rank}, host {rank // self.local}" if self.world > self.local else f"rank {rank}"
        )

    def summary(self) -> Summary:
        file, cluster = self.file, self.file.cluster
        bound = file.lower_bound_ms
        found = [
            ("tables", f"{len(file.tables):,}, {memory(self.bytes.sum())} with optimizer state "
             "and copies"),
            ("cluster", f"{plural(self.world, 'rank')}: {cluster.name or cluster.device}, "
             f"{plural(cluster.hosts, 'host')} of {self.local}"),
            ("batch size per rank", f"{file.batch_size:,}"),
            ("busiest rank", f"{milliseconds(self.load[self.busiest])} (rank {self.busiest})"),
            ("mean rank", f"{milliseconds(self.mean)}; imbalance {number(self.imbalance)}"),
            ("lower bound", milliseconds(bound)
             + (f" (gap {percent(file.gap())})" if bound else "")),
        ]  # fmt: skip
        for name, i in self.memories():
            used, room = self.used[self.fullest[i], i], self.room[self.fullest[i], i]
            share = f" ({percent(used / room)})" if room else ""
            found.append(
                (f"{name.upper()}, fullest rank", f"{memory(used)} of {memory(room)}{share}")
            )
        cut = "; stopped by --seconds" if file.cut_off else ""
        return [*found, ("search", f"{file.rounds:,} rounds, seed {file.seed}{cut}")]

    def detail(self, placed: PlacedTable, *, with_options: bool) -> Json:
        """Return the details of a table."""
        table, busiest = placed.table, self.busiest
        ids = table.pooling_factor
        each = ids if isinstance(ids, (list, tuple)) else [ids] * len(table.feature_names)
        features = [
            f"{name} ({number(n)} {'id' if n == 1 else 'ids'} per sample)"
            for name, n in zip(table.feature_names, each, strict=True)
        ]
        shards = placed.rank_list()
        busy = float(self.file.shard_times(placed)[np.array(shards) == busiest].sum())
        found: Json = {
            "name": table.name,
            "summary": [
                ("placement", f"{placed.sharding_type}, {placed.compute_kernel}, "
                 f"{plural(len(shards), 'shard')} of {placed.width} columns"),
                ("ranks", placed.ranks.replace(",", ", ")),
                ("feature" if len(features) == 1 else "features", ", ".join(features)),
                ("optimizer", table.optimizer),
                (f"on the busiest rank ({busiest})",
                 f"{milliseconds(busy)}, {percent(busy / self.load[busiest])} of its time"
                 if busy else "nothing"),
            ],
            "command": shlex.join(["homerec", "plan", "show", self.name, table.name]),
            "options": None,
        }  # fmt: skip
        if with_options:
            options = alternatives(self.file, table.name)
            found["why"] = why(self.file, table.name, options)
            parts = [i for i in range(len(PARTS)) if any(one.perf[i] > 0 for one in options)]
            found["parts"] = [PART_TITLES[PARTS[i]] for i in parts]
            found["options"] = [_option(one, parts, self.file.time_ms) for one in options]
        return found


def _bytes(placed: PlacedTable) -> float:
    """Weights and optimizer state of all shards and copies."""
    a_row, an_element = bytes_of(placed.table)
    rows = sum(rows * times for rows, times in placed.rows)
    return placed.table.dim // placed.width * rows * (a_row + placed.width * an_element)


def _option(one: Alternative, parts: list[int], time_ms: float) -> tuple[bool, list[str]]:
    if one.chosen:
        outcome = "chosen"
    elif not one.allowed:
        outcome = "forbidden by a rule"
    elif one.plan_ms is None:
        outcome = ""
    else:
        outcome = change(time_ms, one.plan_ms) or "equal"
    return one.chosen, [
        one.sharding_type,
        one.kernel,
        str(one.width),
        f"{one.shards:,}",
        "does not fit" if one.plan_ms is None else number(one.plan_ms),
        outcome,
        number(one.shard_ms),
        " + ".join(memory(size) for size in one.memory.tolist() if size) or "0",
        *(number(float(one.perf[i]), 3) for i in parts),
    ]
