"""Are predicted plans really faster? Many plans of one model, predicted and measured.

    python -m benchmarks.plan_truth --cluster cluster.yaml --out truth.html

`--cluster`: what `homerec plan calibrate` wrote on this machine; its ranks are started here. Every
plan runs in every round, in another order each time. Prints Spearman's rank correlation of
predicted with measured step times, with TorchRec's own constants of a preset and with the
calibrated ones, by TorchRec's rating (the busiest rank's sum) and by its critical path (every part
waits for its slowest rank). The model's tables are none of the calibration's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from embeddings.planner.cluster import Cluster, load_cluster
from embeddings.planner.describe import describe_plan
from embeddings.planner.find import find_plan, quiet
from embeddings.planner.given import Given, plan_of, repriced
from embeddings.planner.options import PARTS
from embeddings.planner.plan_file import PlanFile
from embeddings.planner.request import Request
from embeddings.planner.search import Budget
from embeddings.planner.tables import ListedTable, build_module, usage
from launchers.local_ranks import run_here
from pipeline.calibrate import measure_all
from pipeline.distributed import World
from pipeline.measure import Taken

TW, CW, RW = "table_wise", "column_wise", "row_wise"
TWRW, TWCW, GRID, COPIES = "table_row_wise", "table_column_wise", "grid_shard", "data_parallel"


def model(count: int, seed: int) -> list[ListedTable]:
    """Rows from 1,000 to 300,000, 64 or 128 wide, 10 to 50 ids a sample."""
    draw = np.random.default_rng(seed)
    return [
        ListedTable(
            name=f"table_{i}",
            rows=int(10 ** draw.uniform(3, 5.5)),
            dim=int(draw.choice([64, 128])),
            pooling_factor=round(float(draw.uniform(10, 50)), 1),
        )
        for i in range(count)
    ]


def lay(table: ListedTable, kind: str, rank: int, cluster: Cluster) -> Given:
    """A table as `kind`, its first shard on `rank` if it may be anywhere."""
    world, local = cluster.ranks, cluster.devices_per_host
    narrow = table.dim // 2 if kind in (CW, TWCW, GRID) else table.dim
    host = rank // local * local
    ranks = {
        TW: [rank],
        CW: [rank, (rank + 1) % world],
        TWCW: [rank, host + (rank + 1) % local],
        RW: list(range(world)),
        TWRW: list(range(host, host + local)),
        GRID: list(range(host, host + local)) * 2,
        COPIES: list(range(world)),
    }[kind]
    return Given(table=table, sharding_type=kind, width=narrow, ranks=tuple(ranks))


def plans(
    tables: Sequence[ListedTable], stock: Cluster, own: Cluster, batch_size: int, seed: int
) -> dict[str, PlanFile]:
    """Plans really different in types and places."""
    draw = np.random.default_rng(seed)
    world, count = stock.ranks, len(tables)
    work = np.array([t.dim * float(np.mean(t.pooling_factor)) for t in tables])
    order = np.argsort(-work)
    found: dict[str, list[Given]] = {}

    def put(name: str, kinds: Sequence[str], ranks: Sequence[int]) -> None:
        found[name] = [
            lay(t, k, int(r), stock) for t, k, r in zip(tables, kinds, ranks, strict=True)
        ]

    even = balanced(work, world)
    turns = [i % world for i in range(count)]
    for kind in (TW, CW, RW, TWRW, GRID, COPIES):
        put(f"all {kind}", [kind] * count, even)
    put("table_wise in turns", [TW] * count, turns)
    put("table_wise on one rank", [TW] * count, [0] * count)
    put("column_wise, odd", [CW] * count, turns)
    for share in (0.6, 0.75, 0.9):
        ranks = np.where(np.cumsum(work[order]) <= share * work.sum(), 0, world - 1)
        put(f"table_wise, {share:.0%} on one rank", [TW] * count, ranks[np.argsort(order)])
    small = np.array([t.rows for t in tables]) < 10_000
    put("small ones copied, table_wise", np.where(small, COPIES, TW).tolist(), even)
    put("small ones copied, row_wise", np.where(small, COPIES, RW).tolist(), even)
    put("small ones copied, one rank", np.where(small, COPIES, TW).tolist(), [0] * count)
    heavy = work >= np.median(work)
    put("heavy ones row_wise", np.where(heavy, RW, TW).tolist(), even)
    put("heavy ones row_wise, rest on one", np.where(heavy, RW, TW).tolist(), [0] * count)
    put("heavy ones column_wise", np.where(heavy, CW, TW).tolist(), even)
    put("heavy ones in a grid", np.where(heavy, GRID, TW).tolist(), even)
    put("light ones row_wise", np.where(heavy, TW, RW).tolist(), even)
    for n in range(3):
        put(f"table_wise by chance {n}", [TW] * count, draw.integers(0, world, count).tolist())
    for n in range(5):
        kinds = draw.choice(
            [TW, CW, RW, TWRW, GRID, COPIES], count, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]
        )
        big = np.array([t.rows for t in tables]) > 50_000  # copies of these take all the time
        kinds = np.where(big & (kinds == COPIES), TW, kinds)
        put(f"anything {n}", kinds.tolist(), draw.integers(0, world, count).tolist())
    made = {name: plan_of(given, stock, batch_size) for name, given in found.items()}
    for name, cluster in (("found, stock", stock), ("found, calibrated", own)):
        made[name] = repriced(best(tables, cluster, batch_size), stock)
    return made


def balanced(work: Any, world: int) -> list[int]:
    """The heaviest first, each to the least loaded rank."""
    load = np.zeros(world)
    ranks = [0] * len(work)
    for i in np.argsort(-work):
        ranks[i] = int(load.argmin())
        load[ranks[i]] += work[i]
    return ranks


def best(tables: Sequence[ListedTable], cluster: Cluster, batch_size: int) -> PlanFile:
    request = Request(
        module=build_module(tables), cluster=cluster, batch_size=batch_size, usage=usage(tables)
    )
    planned = find_plan(request, Budget(rounds=20_000, seconds=30, seed=0))
    return describe_plan(request, planned, tables, 0)


def run(world: World, files: Sequence[PlanFile], rounds: int, repeats: int) -> list[list[Taken]]:
    """On every rank."""

    def heard(turn: int, done: int) -> None:
        if world.is_first and done == len(files):
            Console(stderr=True).print(f"round {turn + 1} of {rounds}", highlight=False)

    return measure_all(files, world, rounds=rounds, repeats=repeats, heard=heard)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, ties sharing their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    every = np.asarray(values)
    return np.array([(every < one).sum() + (every == one).sum() / 2 for one in every])


def critical_path(file: PlanFile) -> float:
    """Milliseconds if all ranks waited for the slowest after each part, as TorchRec's has it.

    Its exchanges wait sharding type by sharding type, too; prefetches are left out.
    """
    perf = np.zeros((len(file.tables), file.cluster.ranks, len(PARTS)))
    for n, placed in enumerate(file.tables):
        np.add.at(perf[n], placed.rank_list(), placed.shard_ms)
    total = 0.0
    for part in ("fwd_compute", "bwd_compute"):
        total += perf[:, :, PARTS.index(part)].sum(axis=0).max()
    kinds = np.array([placed.sharding_type for placed in file.tables])
    for part in ("fwd_comms", "bwd_comms"):
        for kind in set(kinds.tolist()):
            total += perf[kinds == kind][:, :, PARTS.index(part)].sum(axis=0).max()
    return float(total)


def draw(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Predicted against measured, before and after."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for which in ("stock", "calibrated"):
        figure.add_scatter(
            x=[row[which] for row in rows],
            y=[row["measured"] for row in rows],
            error_y={"type": "data", "array": [row["error"] for row in rows]},
            text=[row["plan"] for row in rows],
            mode="markers",
            name=f"{which} constants (Spearman {correlation(rows, which):.2f})",
        )
    most = max(max(row["calibrated"], row["measured"]) for row in rows)
    figure.add_scatter(x=[0, most], y=[0, most], mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(
        title="Step of the tables: predicted against measured",
        xaxis_title="predicted, milliseconds",
        yaxis_title="measured, milliseconds",
        template="plotly_white",
    )
    figure.write_html(out, include_plotlyjs=True)


def correlation(rows: Sequence[dict[str, Any]], which: str, truth: str = "measured") -> float:
    return spearman([row[which] for row in rows], [row[truth] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cluster", required=True, help="calibrated (.yaml)")
    parser.add_argument("--stock", default="cpu", help="preset to compare with")
    parser.add_argument("--tables", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4096, help="rows a rank")
    parser.add_argument("--seed", type=int, default=7, help="of the model and the plans")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="of a plan in a round")
    parser.add_argument("--out", type=Path, help="plot (.html); its data goes beside it (.json)")
    options = parser.parse_args()
    own = load_cluster(options.cluster)
    shape = {"hosts": own.hosts, "devices_per_host": own.devices_per_host, "ddr_gb": own.ddr_gb}
    stock = load_cluster(options.stock).model_copy(update=shape)
    tables = model(options.tables, options.seed)
    with quiet():
        made = plans(tables, stock, own, options.batch_size, options.seed)
    taken = run_here(
        run, own.ranks, list(made.values()), options.rounds, options.repeats,
        local_size=own.devices_per_host,
    )  # fmt: skip
    rows = []
    for (name, file), every in zip(made.items(), taken, strict=True):
        steps = np.array([max(row) for one in every for row in one.steps]) * 1e3
        low, middle, high = np.percentile(steps, (25, 50, 75))
        after = repriced(file, own)
        rows.append(
            {
                "plan": name,
                "measured": middle,
                "fastest": steps.min(),
                "error": (high - low) / 2,
                "stock": file.time_ms,
                "calibrated": after.time_ms,
                "stock, critical path": critical_path(file),
                "calibrated, critical path": critical_path(after),
            }
        )
    console = Console()
    view = Table("plan", "measured ms", "+-", "fastest", "stock", "calibrated", "critical path")
    for row in sorted(rows, key=lambda row: row["measured"]):
        view.add_row(
            row["plan"],
            *(f"{row[k]:.1f}" for k in ("measured", "error", "fastest", "stock", "calibrated")),
            f"{row['calibrated, critical path']:.1f}",
        )
    console.print(view)
    for which in ("stock", "calibrated", "stock, critical path", "calibrated, critical path"):
        ratios = np.array([row[which] / row["measured"] for row in rows])
        off = np.exp(np.abs(np.log(ratios)).mean())
        console.print(
            f"{which}: Spearman {correlation(rows, which):.3f} of medians, "
            f"{correlation(rows, which, 'fastest'):.3f} of fastest; off by a factor of {off:.2f}"
        )
    if options.out:
        draw(rows, options.out)
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
