"""What probes of the experts cost in training: a step with one beside one without, in one run.

    OMP_NUM_THREADS=2 python -m benchmarks.health --recipe demo --data data/demo

The two take turns, so that a busy machine slows them alike; a probe's cost is the median of the
differences between neighbors. A probe writes its
log line and TensorBoard scalars as in a run. 'all' is an average step with a probe every --every
steps (default: the recipe's expert_health.probe_every) over one without probes; fields such as
`--train.compile on` go after the options.
"""

import argparse
import statistics
import tempfile
import time
from itertools import chain, repeat
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.expert_health.probes import ExpertProbe
from pipeline.ranks.world import World, open_world
from pipeline.tracking.tracker import Tracker
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline

TOWERS = ("home", "mmoe", "ple", "shared_bottom", "single_task")


def medians(config: Config, world: World, folder: Path, rounds: int) -> tuple[float, float]:
    """Seconds of a step without a probe, and what a probe adds."""
    schema = Schema.load(config.data.path)
    chosen = resolve_features(config, schema)
    source = open_split(config, chosen, "train", world, purpose="train")
    step, parallel = build(config, chosen, world)
    pipeline = open_pipeline(parallel, world)
    stream = chain.from_iterable(repeat(source))
    rates = {task: schema.rate(task) for task in chosen.tasks}
    seconds: tuple[list[float], list[float]] = ([], [])
    with Tracker(folder, rank=0, total_steps=2 * rounds) as tracker:
        kinds = [ExpertProbe(step.model.head, tracker, rates, every, []) for every in (0, 1)]
        for i in range(2 * (rounds + 3)):
            probe, times = kinds[i % 2], seconds[i % 2]
            start = time.perf_counter()
            probe.before_step(i + 1)
            output = pipeline.progress(stream)
            probe.after_step(i + 1, output)
            if i >= 6:  # the first ones warm up
                times.append(time.perf_counter() - start)
    differences = [probed - plain for plain, probed in zip(*seconds, strict=True)]
    return statistics.median(seconds[0]), statistics.median(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", default="data/demo")
    parser.add_argument("--every", type=int, help="steps between probes")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--towers", nargs="+", default=TOWERS)
    args, fields = parser.parse_known_args()
    table = Table("tower", "ms a step", "ms a probe", "probe, in steps", "all")
    with open_world() as world, tempfile.TemporaryDirectory() as name:
        for tower in args.towers:
            words = ["--data.path", args.data, "--model.tower.kind", tower, *fields]
            config = resolve(args.recipe, None, words)
            plain, probed = medians(config, world, Path(name) / tower, args.rounds)
            share = probed / plain
            every = args.every or config.expert_health.probe_every
            table.add_row(
                tower,
                f"{plain * 1e3:.1f}",
                f"{probed * 1e3:.1f}",
                f"{share:.2f}",
                f"{1 + share / every:.4f} (every {every})",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
