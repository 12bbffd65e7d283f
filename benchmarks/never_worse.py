"""Our sharding planner is never worse than TorchRec's: random table lists, both planners on each.

    OMP_NUM_THREADS=1 python -m benchmarks.never_worse --lists 30

A line a list: the predicted step of both plans by TorchRec's rating, and ours over theirs. Ends
with 1 if one is above 1. Lists of 20 to 200 tables, on 4 to 32 ranks; TorchRec's planner is stopped
after --stock-seconds, and takes the best plan it has then.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.stock import stock_ms, stock_planner
from embeddings.planner.find import find_plan
from embeddings.planner.infeasibility.infeasible import Infeasible
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.table_list import ListedTable, build_module, usage
from embeddings.planner.search.search import Budget

CLUSTERS = ("h100-4x1", "h100-8x1", "a100-40-8x1", "a100-80-8x2", "l4-4x2", "a100-40-8x4")


def random_list(seed: int, fewest: int = 20, most: int = 200) -> tuple[list[ListedTable], str]:
    """Tables, and the cluster they are for."""
    draw = np.random.default_rng(seed)
    count = int(np.exp(draw.uniform(np.log(fewest), np.log(most + 1))))
    tables = [
        ListedTable(
            name=f"t{i}",
            rows=int(10 ** draw.uniform(1, 7.7)),
            dim=int(draw.choice([8, 16, 32, 64, 128, 256])),
            dtype=str(draw.choice(["fp32", "fp16"])),
            pooling_factor=round(float(10 ** draw.uniform(0, 2)), 1)
            if draw.random() < 0.5
            else 1.0,
            optimizer=str(draw.choice(["rowwise_adagrad", "adam", "sgd"])),
            weighted=bool(draw.random() < 0.1),
        )
        for i in range(count)
    ]
    return tables, CLUSTERS[int(draw.integers(len(CLUSTERS)))]


def compared(seed: int, stock_seconds: int, **sizes: int) -> dict[str, Any]:
    """Milliseconds of both plans; None where there is none."""
    tables, cluster = random_list(seed, **sizes)
    request = PlanRequest(
        module=build_module(tables),
        cluster=load_cluster(cluster),
        batch_size=int(2 ** np.random.default_rng(seed).integers(8, 13)),
        usage=usage(tables),
    )
    stock = stock_ms(stock_planner(request, stock_seconds), request)
    ours: float | None = None
    lower = 0.0
    try:
        found = find_plan(request, Budget(seconds=600), diagnosis_seconds=0)
        ours, lower = found.time, found.lower_bound
    except Infeasible:
        ours = None
    return {"tables": len(tables), "cluster": cluster, "ours": ours, "stock": stock, "bound": lower}


def is_worse(row: dict[str, Any]) -> bool:
    """Slower than TorchRec's plan, or none where it has one."""
    if row["stock"] is None:
        return False
    return row["ours"] is None or row["ours"] > row["stock"] * (1 + 1e-9)


def all_compared(lists: int, seed: int, stock_seconds: int) -> Iterator[dict[str, Any]]:
    for n in range(lists):
        yield {"seed": seed + n, **compared(seed + n, stock_seconds)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the first list")
    parser.add_argument("--stock-seconds", type=int, default=60)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    console = Console(highlight=False, width=120)
    worse = 0
    for row in all_compared(options.lists, options.seed, options.stock_seconds):
        both = row["ours"] is not None and row["stock"] is not None
        row["ratio"] = round(row["ours"] / row["stock"], 4) if both else None
        worse += is_worse(row)
        console.print(row)
    console.print(f"{worse} of {options.lists} are worse than TorchRec's")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
