"""What guard, optimizer and average cost, as shares of a step.

    python -m benchmarks.step_guard --data data/demo [--steps 60] [--recipe demo]

In one run on one rank, with clipping and an average. CPU time of the thread that trains, so that
other work on the machine does not count; with OMP_NUM_THREADS=1 that is all of it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.ranker import Head
from pipeline import train as training
from pipeline.config.overrides import configure
from pipeline.faults.step_guard import StepGuard, Verdict
from pipeline.loop.segments import Segments
from pipeline.ranks.world import open_world
from pipeline.training.optim.optimizer import RunOptimizer

_PARTS = {
    "copy running statistics": (StepGuard, "before_step"),
    "judge": (StepGuard, "_judge"),
    "restore running statistics": (StepGuard, "after_step"),
    "verdict": (StepGuard, "take_verdict"),
    "read the verdict": (Verdict, "read"),
    "optimizer, clipping": (RunOptimizer, "step"),
    "average": (Head, "update_ema"),
}
_STEP = (Segments, "_step")
"""Forward, backward and optimizer."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", default="60")
    parser.add_argument("--recipe", default="demo")
    args = parser.parse_args()
    spent: dict[tuple[Any, str], list[float]] = {}

    def timed(key: tuple[Any, str], function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*words: Any, **more: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*words, **more)
            finally:
                spent.setdefault(key, []).append(time.thread_time() - began)

        return wrapper

    for where, name in (*_PARTS.values(), _STEP):
        setattr(where, name, timed((where, name), getattr(where, name)))
    words = [("data.path", args.data), ("train.max_steps", args.steps)]
    words += [("train.ema_decay", "0.999"), ("dense.clip_norm", "10")]
    words += [("train.log_every", "1000"), ("expert_health.probe_every", "0")]
    with tempfile.TemporaryDirectory() as out, open_world() as world:
        fields = [word for field, value in words for word in (f"--{field}", value)]
        config, folder = configure(
            args.recipe, None, Path(out) / "run", fields, resume=False, must_exist=False
        )
        training.train(config, folder, world, resume=False, overwrite=False)
    # The first steps allocate; the last _step of a segment only finds the feed at its end.
    step = statistics.median(spent[_STEP][5:-1])
    for name, key in _PARTS.items():
        median = statistics.median(spent[key][5:])
        print(f"{name:28}{median * 1e3:8.3f} ms, {median / step:7.2%} of a step")  # noqa: T201
    print(f"{'step':28}{step * 1e3:8.3f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
