"""Cost of a tower's training step by batch size and by number of features, against its FLOPs.

    python -m benchmarks.work [--tower mmoe] [--batches 512 2048 8192] [--sparse 20 100 300]

CPU time of forward, loss and backward; sizes take turns with each other and with a 1024^3 product,
and each keeps its best time, so that other work on the machine falls on all alike. 'Of the rate' is
the share of the product's floating-point rate: a cost that grows no faster than its FLOPs keeps it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tower import TASKS, training_step
from models.towers.config import HomeConfig, MmoeConfig
from pipeline.ranks.allocator import keep_freed_memory
from tests.models.reference.build import reference

_TOWERS: dict[str, type[HomeConfig] | type[MmoeConfig]] = {"home": HomeConfig, "mmoe": MmoeConfig}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tower", choices=list(_TOWERS), default="mmoe")
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--sparse", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--dim", type=int, default=16, help="embedding dimension of a feature")
    parser.add_argument("--batch", type=int, default=2048, help="rows while features vary")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    sizes = [(batch, args.sparse[0]) for batch in args.batches]
    sizes += [(args.batch, sparse) for sparse in args.sparse if (args.batch, sparse) not in sizes]
    towers = {sparse: _tower(args.tower, sparse * args.dim) for _, sparse in sizes}
    steps: dict[object, Callable[[], object]] = {}
    flop: dict[object, int] = {}
    for batch, sparse in sizes:
        v_BF = torch.randn(batch, sparse * args.dim, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            training_step(reference(towers[sparse], TASKS), v_BF)()
        flop[batch, sparse] = counter.get_total_flops()
        steps[batch, sparse] = training_step(towers[sparse], v_BF)
    square = torch.randn(1024, 1024)
    steps["product"], flop["product"] = lambda: square @ square, 2 * 1024**3
    seconds = _best(steps, args.rounds)
    rate = flop["product"] / seconds["product"]

    table = Table(title=f"{args.tower}, {len(TASKS)} tasks, {rate / 1e9:.0f} GFLOP/s, one thread")
    for name in ("rows", "features", "MFLOP a sample", "us a sample", "of the rate"):
        table.add_column(name, justify="right")
    for batch, sparse in sizes:
        took, work = seconds[batch, sparse], flop[batch, sparse]
        table.add_row(
            f"{batch:,}",
            f"{sparse} x {args.dim}",
            f"{work / batch / 1e6:.2f}",
            f"{took / batch * 1e6:.1f}",
            f"{work / took / rate:.0%}",
        )
    Console(width=100).print(table)


def _tower(kind: str, num_features: int) -> nn.Module:
    tower = _TOWERS[kind]().build(num_features=num_features, tasks=TASKS)
    tower.init_weights(0)
    return tower


def _best(steps: dict[object, Callable[[], object]], rounds: int) -> dict[object, float]:
    times = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            times[name] = min(times[name], time.process_time() - began)
    return times


if __name__ == "__main__":
    main()
