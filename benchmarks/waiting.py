"""How long training waits for batches, as a share of its time.

    OMP_NUM_THREADS=1 python -m benchmarks.waiting --data data/demo [--steps 200] [--recipe demo]

Of steps on one rank by the clock, without the first 20, in which reading ahead begins. Fields of
the run go after the options (`--train.batch_size 2048`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import train as training
from pipeline.config.overrides import configure
from pipeline.loop.in_flight import InFlight
from pipeline.loop.segments import Segments
from pipeline.ranks.world import open_world

_SKIPPED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="prepared folder")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--recipe", default="demo")
    args, fields = parser.parse_known_args()
    waits: list[float] = []
    steps: list[float] = []

    def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
        def wrapper(*words: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*words)
            finally:
                seconds.append(time.perf_counter() - began)

        return wrapper

    feed = InFlight.feed

    def timed_feed(self: InFlight, batches: Any) -> Any:
        return feed(self, iter(timed(lambda: next(batches, None), waits), None))

    InFlight.feed = timed_feed  # type: ignore[method-assign]
    Segments._step = timed(Segments._step, steps)  # type: ignore[method-assign]
    words = ["--data.path", args.data, "--train.max_steps", str(args.steps)]
    words += ["--expert_health.probe_every", "0", "--train.eval_every", "0", *fields]
    with tempfile.TemporaryDirectory() as out, open_world() as world:
        config, folder = configure(
            args.recipe, None, Path(out) / "run", words, resume=False, must_exist=False
        )
        training.train(config, folder, world, resume=False, overwrite=False)
    step, wait = sum(steps[_SKIPPED:]), sum(waits[_SKIPPED:])
    print(f"{wait / step:.2%} of {step:.1f} s in {len(steps[_SKIPPED:])} steps")  # noqa: T201


if __name__ == "__main__":
    main()
