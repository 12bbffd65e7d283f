"""Does a run train faster for being planned? One recipe under several plans, turn about.

    python -m benchmarks.training_plans --recipe demo --data data/demo --json plans.json

All plans' models stand side by side on the same ranks, and train a few steps each in every round,
in another order each time, so that other work on the machine falls on all of them alike. Prints the
rate of each plan over that of the last one (median over rounds, and the range between the
quartiles): samples by the clock of the slowest rank, and samples by second of processor time, which
other work disturbs least. Fields of a run go after the options (`--train.batch_size 4096`).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from launchers.local.local_ranks import run_ranks
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.data.schema import Schema
from pipeline.ranks.machine import machine
from pipeline.ranks.world import World
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline

PLANS: dict[str, tuple[str, ...]] = {
    "homerec": ("--sharding.planner", "homerec"),
    "torchrec": ("--sharding.planner", "torchrec"),
    "table_wise": ("--sharding.planner", "torchrec", "--sharding.types", "table_wise"),
}
"""The fields of each; the last one is what the others are compared with."""

_WARMUP = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """A plan's rounds. Seconds of the slowest rank, and of all ranks' processors."""

    seconds: tuple[float, ...]
    busy: tuple[float, ...]
    types: dict[str, int]
    """Tables by sharding type."""
    build_seconds: float
    """From configuration to sharded model, its plan included."""


def run(
    world: World, configs: Mapping[str, Config], rounds: int, steps: int
) -> tuple[dict[str, Turns], str]:
    """Train each of `configs` for `steps` steps in each of `rounds`; every rank must call this."""
    batches = _batches(next(iter(configs.values())), world, max(steps, _WARMUP))
    pipelines, types, built = {}, {}, {}
    for name, config in configs.items():
        dist.barrier(group=world.control)
        began = time.perf_counter()
        _, parallel = build(config, resolve_features(config, Schema.load(config.data.path)), world)
        parallel.model.train()
        pipelines[name] = open_pipeline(parallel, world)
        built[name] = time.perf_counter() - began
        types[name] = dict(Counter(row["sharding_type"] for row in parallel.plan["tables"]))
        _train(pipelines[name], batches[:_WARMUP])
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in configs}
    for turn in range(rounds):
        for name in random.Random(turn).sample(list(configs), len(configs)):
            dist.barrier(group=world.control)
            began, busy = time.perf_counter(), time.process_time()
            _train(pipelines[name], batches[:steps])
            taken[name].append((time.perf_counter() - began, time.process_time() - busy))
    ranks: list[Any] = [None] * world.size
    dist.all_gather_object(ranks, taken, group=world.control)
    found = {
        name: Turns(
            seconds=tuple(max(rank[name][n][0] for rank in ranks) for n in range(rounds)),
            busy=tuple(sum(rank[name][n][1] for rank in ranks) for n in range(rounds)),
            types=types[name],
            build_seconds=built[name],
        )
        for name in configs
    }
    return found, machine(world)


def _batches(config: Config, world: World, count: int) -> list[Batch]:
    """This rank's first ones, again from the first where the data have fewer."""
    source = open_split(
        config,
        resolve_features(config, Schema.load(config.data.path)),
        "train",
        world,
        purpose="train",
    )

    def endless() -> Iterator[Batch]:
        while True:
            yield from source

    stream = endless()
    return [next(stream) for _ in range(count)]


def _train(pipeline: Any, batches: Sequence[Batch]) -> None:
    feed = iter(batches)
    for _ in batches:
        pipeline.progress(feed)


def ratios(found: Mapping[str, Turns]) -> dict[str, dict[str, list[float]]]:
    """By plan and clock: median and quartiles of its rate over the last plan's, round by round."""
    last = list(found.values())[-1]
    return {
        name: {
            clock: np.percentile(
                np.array(getattr(last, clock)) / np.array(getattr(turns, clock)), (50, 25, 75)
            ).tolist()
            for clock in ("seconds", "busy")
        }
        for name, turns in found.items()
    }


def show(found: Mapping[str, Turns], samples: int, title: str) -> None:
    """A line a plan."""
    view = Table(
        "plan", "tables", "build s", "samples/s", "samples/processor s", title=title,
        title_justify="left",
    )  # fmt: skip
    compared = ratios(found)
    for name, turns in found.items():
        cells = []
        for clock in ("seconds", "busy"):
            middle, low, high = compared[name][clock]
            rate = samples / float(np.median(getattr(turns, clock)))
            cells.append(f"{rate:,.0f}  x {middle:.3f} ({low:.3f} to {high:.3f})")
        types = ", ".join(f"{n} {kind}" for kind, n in turns.types.items())
        view.add_row(name, types, f"{turns.build_seconds:.2f}", *cells)
    Console(width=150).print(view)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", type=Path, required=True, help="a prepared folder")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--plans", default=",".join(PLANS), help="of these, or sharding types")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=25, help="of a plan in a round")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options, fields = parser.parse_known_args(argv)
    configs = {}
    for name in options.plans.split(","):
        words = PLANS.get(name, ("--sharding.types", name.replace("+", ",")))
        configs[name] = resolve(
            options.recipe, None, ["--data.path", str(options.data), *words, *fields]
        )
    found, where = run_ranks(run, options.ranks, configs, options.rounds, options.steps)
    samples = options.steps * next(iter(configs.values())).train.batch_size
    show(found, samples, f"{options.recipe} on {options.ranks} ranks ({where})")
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "machine": where,
                    "recipe": options.recipe,
                    "ranks": options.ranks,
                    "ratios": ratios(found),
                    "types": {name: turns.types for name, turns in found.items()},
                },
                indent=1,
            )
            + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
