"""What the step guard costs: its share of the time of a step, in one run on one rank.

    python -m benchmarks.step_guard --data data/demo [--steps 60] [--recipe demo]

The time is taken inside the guard (`before_step`, the judgement in backward, the optimizer's
check), so that noise of other work on the machine falls on both sides of the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import train as training
from pipeline.config.overrides import configure
from pipeline.faults import step_guard
from pipeline.loop.segments import Segments
from pipeline.ranks.world import open_world


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", default="60")
    parser.add_argument("--recipe", default="demo")
    args = parser.parse_args()
    spent: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*words: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*words, **more)
            finally:
                spent.setdefault(name, []).append(time.perf_counter() - began)

        return wrapper

    for where, name in (
        (step_guard.StepGuard, "before_step"),
        (step_guard.StepGuard, "_judge"),
        (step_guard, "_finite"),
        (Segments, "_step"),
    ):
        setattr(where, name, timed(name, getattr(where, name)))
    with tempfile.TemporaryDirectory() as out, open_world() as world:
        fields = [
            "--data.path",
            args.data,
            "--train.max_steps",
            args.steps,
            "--expert_health.probe_every",
            "0",
        ]
        config, folder = configure(
            args.recipe, None, Path(out) / "run", fields, resume=False, must_exist=False
        )
        training.train(config, folder, world, resume=False, overwrite=False)
    # The first steps allocate; the last _step of a segment only finds the feed at its end.
    step = statistics.median(spent["_step"][5:-1])
    total = 0.0
    for name in ("before_step", "_judge", "_finite"):
        median = statistics.median(spent[name][5:])
        total += median
        print(f"{name:8} {median * 1e3:8.3f} ms, {median / step:7.2%} of a step")  # noqa: T201
    print(f"{'all':8} {total * 1e3:8.3f} ms, {total / step:7.2%} of {step * 1e3:.1f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
