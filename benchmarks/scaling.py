"""What more ranks bring, and what they send: samples a second, and bytes a sample beside the least.

    python -m benchmarks.scaling --ranks 1,2,4 --json scaling.json

Trains the demo recipe on synthetic data (or `--data FOLDER`, a prepared one) under several plans:
the recipe's own, and every table of one sharding type. Fields of a run go after the options
(`--train.batch_size 4096`). A global batch is the recipe's, whatever the number of ranks, and each
rank has one thread.

Speed and bytes are taken in steps of their own, as counting slows a step. Where other work shares
the machine, samples by second of processor time (user and system, all ranks') tell more than those
by the clock. Bytes are counted from the collectives that run (benchmarks/traffic.py); the least is
the plan's and the batches' own (benchmarks/least_traffic.py); 'on the wire' is what the kernel says
the ranks' TCP connections sent.
"""

import argparse
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure_steps import StepsMeasured, measure_steps
from benchmarks.traffic import PURPOSES
from launchers.local.local_ranks import run_ranks
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.ranks.machine import machine
from pipeline.ranks.world import World

OWN = "own"


def run(world: World, config: Config, timed: int, counted: int) -> tuple[StepsMeasured, str]:
    """On every rank."""
    return measure_steps(config, world, timed=timed, counted=counted), machine(world)


def rates(found: StepsMeasured) -> dict[str, Any]:
    """By sample and by second."""
    return {
        "samples_per_second": found.samples / found.seconds,
        "samples_per_processor_second": found.samples / found.processor_seconds,
        "sent": {purpose: n / found.counted for purpose, n in found.sent.items()},
        "least": {purpose: n / found.counted for purpose, n in found.least.items()},
        "calls": found.calls,
        "on_wire": found.on_wire / found.counted,
        "types": sorted({row["sharding_type"] for row in found.plan["tables"]}),
    }


def speed_table(points: Sequence[Mapping[str, Any]]) -> Table:
    view = Table(title="Speed", title_justify="left")
    view.add_column("plan", no_wrap=True)
    for heading in ("ranks", "samples/s", "by processor second", "of 1 rank's"):
        view.add_column(heading, justify="right")
    for point in points:
        first = next((p for p in points if p["plan"] == point["plan"] and p["ranks"] == 1), None)
        by_processor = point["samples_per_processor_second"]
        view.add_row(
            point["plan"],
            str(point["ranks"]),
            f"{point['samples_per_second']:,.0f}",
            f"{by_processor:,.0f}",
            f"{by_processor / first['samples_per_processor_second']:.0%}" if first else "",
        )
    return view


def bytes_table(points: Sequence[Mapping[str, Any]]) -> Table:
    view = Table(
        title="Bytes a sample, sent by all ranks together: counted / least", title_justify="left"
    )
    view.add_column("plan", no_wrap=True)
    view.add_column("ranks", justify="right")
    used = [purpose for purpose in PURPOSES if any(purpose in point["sent"] for point in points)]
    for purpose in (*used, "all", "on the wire"):
        view.add_column(purpose, justify="right")
    for point in points:
        if point["ranks"] == 1:
            continue
        sent, least = point["sent"], point["least"]
        cells = [
            f"{sent.get(p, 0):,.1f}" + (f" / {least[p]:,.1f}" if least.get(p) else "") for p in used
        ]
        total, needed = sum(sent.values()), sum(least.values())
        view.add_row(
            point["plan"],
            str(point["ranks"]),
            *cells,
            f"{total:,.1f} / {needed:,.1f} = {total / needed:.3f}",
            f"{point['on_wire']:,.1f}",
        )
    return view


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=60_000, help="synthetic rows, without --data")
    parser.add_argument(
        "--plans",
        default=f"{OWN},table_wise,row_wise,data_parallel",
        help=f"'{OWN}', or sharding types",
    )
    parser.add_argument("--timed", type=int, default=40, help="steps by the clock")
    parser.add_argument("--counted", type=int, default=8, help="steps whose bytes are counted")
    parser.add_argument("--json", type=Path)
    args, fields = parser.parse_known_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    points: list[dict[str, Any]] = []
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            data = Path(folder) / "data"
            prepare_synthetic(data, rows=args.rows, seed=0)
        for plan in args.plans.split(","):
            types = [] if plan == OWN else ["--sharding.types", plan]
            config = resolve(args.recipe, None, ["--data.path", str(data), *types, *fields])
            for ranks in map(int, args.ranks.split(",")):
                found, said = run_ranks(run, ranks, config, args.timed, args.counted)
                points.append({"plan": plan, "ranks": ranks} | rates(found))
                points[-1]["measured"] = dataclasses.asdict(found)
                Console(stderr=True).print(
                    f"{plan}, {ranks} ranks: {points[-1]['samples_per_second']:,.0f} samples/s",
                    highlight=False,
                )
    console = Console()
    console.print(speed_table(points))
    console.print(bytes_table(points))
    console.print(said, highlight=False)
    if args.json:
        args.json.write_text(
            json.dumps({"machine": said, "points": points}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
