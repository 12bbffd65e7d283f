"""What a checkpoint costs training: rounds of steps with a save in them beside rounds without.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.checkpoint --data data/demo

Rounds without a save, with one in the background and with one that training waits for take turns,
so that a busy machine slows them alike. 'Stands' is how long a save keeps the next step waiting.
'Processor' is all that a save makes this rank compute, in any of its threads: the median of the
differences between neighbors. Where the writing thread finds no core of its own it takes that from
the steps beside it, so that both together are the most a save can cost; the last column is their
share of a minute. Fields of a run go after the options: `--embeddings.dim 256` makes tables larger.
"""

import argparse
import platform
import statistics
import tempfile
import time
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.checkpoint.layout import step_folder
from pipeline.checkpoint.manifest import read_manifest
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.save import Checkpoints
from pipeline.checkpoint.verify import find_damage_on_ranks
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.faults.finite_weights import check_finite
from pipeline.ranks.coordinate import broadcast_from_rank0
from pipeline.ranks.world import World, open_world
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline

KINDS = ("no save", "background", "waiting")


class Bench:
    """One model, and a round of steps of each kind."""

    def __init__(self, config: Config, world: World, folder: Path) -> None:
        schema = Schema.load(config.data.path)
        chosen = resolve_features(config, schema)
        self._source = open_split(config, chosen, "train", world, purpose="train")
        self._stream = chain.from_iterable(repeat(self._source))
        _, self._parallel = build(config, chosen, world)
        self._pipeline = open_pipeline(self._parallel, world)
        self._world = world
        self.folder = folder
        self.step = 0
        self.blocked: dict[str, list[float]] = {kind: [] for kind in KINDS[1:]}
        self._savers = {
            kind: Checkpoints(folder, world, _saving(config, kind == "background"), schema)
            for kind in KINDS[1:]
        }

    def round(self, kind: str, steps: int) -> tuple[float, float]:
        """Seconds, and processor seconds, of so many steps; with a save in the middle if any."""
        broadcast_from_rank0(self._world, None)  # all begin together
        start, used = time.perf_counter(), time.process_time()
        for count in (steps,) if kind == "no save" else (steps // 2, steps - steps // 2):
            feed = islice(self._stream, count)
            for _ in range(count):
                self._pipeline.progress(feed)
            self.step += count
            if kind != "no save" and count == steps // 2:
                self._save(kind)
        if kind != "no save":
            self._savers[kind].wait()
        return time.perf_counter() - start, time.process_time() - used

    def _save(self, kind: str) -> None:
        start = time.perf_counter()
        check_finite(self._parallel.model, self.step, self._world)
        progress = Progress(step=self.step, source=self._source.state_dict())
        self._savers[kind].save(self._parallel.model, self._parallel.optimizer, progress)
        self.blocked[kind].append(time.perf_counter() - start)

    def load(self) -> tuple[float, float]:
        """Seconds of checking the newest checkpoint, and of a resume, which checks it too."""
        start = time.perf_counter()
        assert find_damage_on_ranks(step_folder(self.folder, self.last), self._world) is None
        checked = time.perf_counter()
        self._savers["waiting"].load_latest(self._parallel.model, self._parallel.optimizer)
        return checked - start, time.perf_counter() - checked

    @property
    def last(self) -> int:
        return max(int(path.name[5:]) for path in self.folder.glob("step-*"))


def _saving(config: Config, asynchronous: bool) -> Config:
    section = config.checkpoint.model_copy(update={"asynchronous": asynchronous})
    return config.model_copy(update={"checkpoint": section})


def _machine() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(names)} cores, {names[0] if names else platform.processor()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="prepared folder")
    parser.add_argument("--steps", type=int, default=40, help="steps a round")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each kind")
    args, fields = parser.parse_known_args()
    config = resolve(args.recipe, None, ["--data.path", str(args.data), *fields])
    with tempfile.TemporaryDirectory() as name, open_world() as world:
        bench = Bench(config, world, Path(broadcast_from_rank0(world, name)))
        seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for turn in range(args.rounds + 1):
            for kind in KINDS:
                took = bench.round(kind, args.steps)
                if turn:  # the first ones warm up
                    seconds[kind].append(took)
        checked, loaded = bench.load()
        if world.is_first:
            size = read_manifest(step_folder(bench.folder, bench.last)).bytes
            _print(config, seconds, bench.blocked, args.steps, world)
            Console(width=100).print(
                f"checkpoint {size / 1e6:.1f} MB; checked in {checked:.3f} s, "
                f"checked and loaded in {loaded:.3f} s; {_machine()}"
            )


def _print(config: Config, seconds: Any, blocked: Any, steps: int, world: World) -> None:
    plain = statistics.median(whole for whole, _ in seconds["no save"])
    title = f"{config.recipe}, {world.size} ranks, step {1e3 * plain / steps:.2f} ms"
    table = Table("save", "stands [ms]", "processor [ms]", "at one a minute", title=title)
    for kind in KINDS[1:]:
        pairs = zip(seconds[kind], seconds["no save"], strict=True)
        cost = max(0.0, statistics.median(one - other for (_, one), (_, other) in pairs))
        stands = statistics.median(blocked[kind][1:])
        share = (stands + cost) / 60
        table.add_row(kind, f"{1e3 * stands:.1f}", f"{1e3 * cost:.1f}", f"{share:.2%}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
