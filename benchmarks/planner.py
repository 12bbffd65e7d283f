"""Our sharding planner beside TorchRec's own, on random models of the usual shape.

    OMP_NUM_THREADS=1 python -m benchmarks.planner --sizes 50x16,200x64 --stock-seconds 300

A line a size: seconds, peak memory of the process, the predicted step time of the plan found
(TorchRec's own rating of it), what no plan can beat, and whether it fits. Each planner runs in a
process of its own. TorchRec's planner is stopped after --stock-seconds (0: not run at all); it
looks at the clock between proposals, and is killed if it does not look for as long again. Models:
rows log-uniform from 1e3 to 1e8 (Zipf's law), dim 16 to 256, half of the tables multi-valued with
1 to 100 ids a sample.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.stock import stock_ms, stock_planner
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import ListedTable, build_module, usage
from embeddings.planner.search.search import Budget

SIZES = "50x16,200x64,500x128,1000x256,1000x1024"


def random_tables(count: int, seed: int) -> list[ListedTable]:
    draw = np.random.default_rng(seed)
    rows = (10 ** draw.uniform(3, 8, count)).astype(int).tolist()
    dims = draw.choice([16, 32, 64, 128, 256], count, p=[0.15, 0.2, 0.3, 0.25, 0.1]).tolist()
    pooled = np.where(draw.random(count) < 0.5, 1.0, 10 ** draw.uniform(0, 2, count))
    return [
        ListedTable(
            name=f"table_{i}",
            rows=rows[i],
            dim=dims[i],
            # Wide tables are stored in half precision, as people do.
            dtype="fp16" if dims[i] >= 128 else "fp32",
            pooling_factor=round(float(pooled[i]), 1),
        )
        for i in range(count)
    ]


def ours(request: PlanRequest, budget: Budget) -> dict[str, Any]:
    solution = find_plan(request, budget)
    return {
        "ms": solution.time,
        "bound": solution.lower_bound,
        "fits": bool((solution.memory <= solution.room).all()),
        "work": f"{solution.rounds:,} rounds{' (cut off)' if solution.cut_off else ''}",
    }


def stock(request: PlanRequest, seconds: int) -> dict[str, Any]:
    planner = stock_planner(request, seconds)
    start = time.monotonic()
    took = stock_ms(planner, request)
    stopped = " (stopped)" if time.monotonic() - start > seconds else ""
    return {
        "ms": took,
        "fits": took is not None,
        "work": f"{planner._num_proposals:,} proposals{stopped}",
    }


def one(pipe: Connection, who: str, count: int, cluster: str, options: argparse.Namespace) -> None:
    """One planner on one model, in a process of its own."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    tables = random_tables(count, options.seed)
    request = PlanRequest(
        module=build_module(tables),
        cluster=load_cluster(cluster),
        batch_size=options.batch_size,
        usage=usage(tables),
    )
    wall, cpu = time.monotonic(), time.process_time()
    if who == "ours":
        found = ours(request, Budget(rounds=options.rounds, seconds=options.seconds, seed=0))
    else:
        found = stock(request, options.stock_seconds)
    found["seconds"] = time.monotonic() - wall
    found["cpu"] = time.process_time() - cpu
    found["gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    pipe.send(found)


def run(who: str, count: int, cluster: str, options: argparse.Namespace) -> dict[str, Any] | None:
    context = multiprocessing.get_context("spawn")
    ours_end, theirs_end = context.Pipe(duplex=False)
    process = context.Process(target=one, args=(theirs_end, who, count, cluster, options))
    process.start()
    theirs_end.close()
    patience = None if who == "ours" else 2 * options.stock_seconds + 60
    found: dict[str, Any] | None = None
    if ours_end.poll(patience):
        try:
            found = ours_end.recv()
        except EOFError:  # it died, and has said why
            found = None
    else:
        process.kill()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=SIZES, help="tables x ranks")
    parser.add_argument("--preset", default="a100-80", help="hosts of 8 of these")
    parser.add_argument("--batch-size", type=int, default=4096, help="rows a rank")
    parser.add_argument("--seed", type=int, default=0, help="of the models")
    parser.add_argument("--rounds", type=int, default=Budget().rounds)
    parser.add_argument("--seconds", type=float, default=Budget().seconds)
    parser.add_argument("--stock-seconds", type=int, default=60)
    options = parser.parse_args()
    console = Console()
    view = Table("model", "planner", "seconds", "of CPU", "GB", "ms", "bound", "fits", "work")
    for size in options.sizes.split(","):
        count, ranks = map(int, size.split("x"))
        cluster = f"{options.preset}-8x{ranks // 8}"
        for who in ("ours", "stock"):
            if who == "stock" and not options.stock_seconds:
                continue
            found = run(who, count, cluster, options)
            if found is None:
                view.add_row(size, who, "-", "-", "-", "-", "", "", "no plan in time")
                continue
            took = "-" if found["ms"] is None else f"{found['ms']:.3f}"
            lower = f"{found['bound']:.3f}" if "bound" in found else ""
            view.add_row(
                size, who, f"{found['seconds']:.1f}", f"{found['cpu']:.1f}", f"{found['gb']:.2f}",
                took, lower, "yes" if found["fits"] else "no", found["work"],
            )  # fmt: skip
            console.print(f"{size} {who}: {found}", highlight=False)
    console.print(view)


if __name__ == "__main__":
    main()
