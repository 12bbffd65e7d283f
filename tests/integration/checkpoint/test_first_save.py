"""A first save that fails names the option that starts the run again, and that option does."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.checkpoint.layout import saved_steps
from tests.integration.checkpoint.test_overwrite import overwrite
from tests.integration.training.runs import run
from tests.ranks import run_ranks

WORDS = ["--train.max_steps", "2"]


@contextmanager
def small_files() -> Iterator[None]:
    """This process may write no file over 100 kB: no checkpoint."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, before)


def started_again(rank: int, size: int, data: Path, out: Path) -> Any:
    with small_files():
        first = run(rank, size, data, out, WORDS)
    resumed = run(rank, size, data, out, [], "auto")
    with small_files():
        later = run(rank, size, data, out, ["--train.max_steps", "3"], True)
        replacing = overwrite(data, out, ["--train.max_steps", "1"])
    steps = saved_steps(out / "checkpoints")
    replaced = overwrite(data, out, ["--train.max_steps", "1"])
    return (first, later, replacing), (resumed, steps, replaced)


def test_the_remedy_of_a_failed_save_works(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (said, (resumed, steps, replaced)) = run_ranks(started_again, 1, synthetic, out)[0]
    remedies = (
        "start again with --resume auto",
        "resume with --resume",
        "start again with --overwrite",
    )
    for line, remedy in zip(said, remedies, strict=True):
        assert ": not saved: " in line
        assert line.endswith(f"; fix this, then {remedy}")
    assert (resumed, steps, replaced) == (0, [2], 0)
    assert saved_steps(out / "checkpoints") == [1]
