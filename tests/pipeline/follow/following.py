"""A log that grows, and ranks that follow it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from threading import Timer
from typing import Any

from pipeline.checkpoint.layout import saved_steps, step_folder
from pipeline.checkpoint.progress import read_progress
from pipeline.config.overrides import configure
from pipeline.data.table.prepare import prepare_table
from pipeline.follow.follow import follow
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.train import train
from pipeline.training.hooks import Hook
from pipeline.training.step import StepOutput
from tests.pipeline.data.table.tables import silent, spec, table

WORDS = [
    *("--train.batch_size", "32", "--train.deterministic", "true", "--train.log_every", "1"),
    *("--schedule.decay", "inverse_sqrt", "--model.tower.dropout", "0.1"),
    *("--follow.window_rows", "192", "--follow.poll_seconds", "0.05"),
    *("--follow.idle_stop_minutes", "0.008", "--checkpoint.every", "2"),
]


def start_log(folder: Path) -> Path:
    """Write the first file of a log, prepare a folder from it, and return that."""
    (folder / "logs").mkdir()
    add(folder, "a0", 400, 0)
    prepare_table(spec(folder / "logs"), folder / "data", progress=silent)
    return folder / "data"


def add(folder: Path, name: str, rows: int, seed: int) -> Path:
    """Add a file to the log."""
    path = folder / "logs" / f"{name}.parquet"
    partial = path.with_name(f".{path.name}")
    table(rows, seed=seed).write_parquet(partial)
    return partial.rename(path)


class Dies(Hook):
    """Kills this rank `seconds` after its first step."""

    def __init__(self, seconds: float) -> None:
        self._timer = Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        self._timer.daemon = True
        self._started = False

    def after_step(self, step: int, output: StepOutput) -> None:
        if not self._started:
            self._timer.start()
            self._started = True


class Stops(Hook):
    """Asks this rank to stop after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def after_step(self, step: int, output: StepOutput) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGTERM)


def run(
    rank: int,
    size: int,
    data: Path,
    out: Path,
    words: list[str] | None = None,
    hook: Hook | None = None,
    dies: tuple[int, float] | None = None,
) -> Any:
    """Follow, resuming if something was saved; the exit code, or the user's error. `dies`: a rank,
    and the seconds after which it is killed."""
    words = [] if out.exists() else ["--data.path", str(data), *WORDS, *(words or [])]
    if dies is not None and dies[0] == rank:
        hook = Dies(dies[1])
    try:
        config, out = configure("debug", None, out, words, resume=True, must_exist=False)
        hooks = [] if hook is None else [hook]
        return follow(config, out, this_world(), resume="auto", hooks=hooks)
    except UserError as error:
        return str(error)


def train_first(rank: int, size: int, data: Path, out: Path) -> int:
    """Train 4 steps on the prepared rows."""
    # Ranks would draw their own dropout.
    words = ["--data.path", str(data), *WORDS, "--model.tower.dropout", "0"]
    config, out = configure(
        "debug", None, out, [*words, "--train.max_steps", "4"], resume=False, must_exist=False
    )
    return train(config, out, this_world())


def train_again(rank: int, size: int, out: Path) -> Any:
    """Resume a run without following; the exit code, or the user's error."""
    config, out = configure("debug", None, out, [], resume=True, must_exist=True)
    try:
        return train(config, out, this_world(), resume=True)
    except UserError as error:
        return str(error)


def logged(out: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl of one kind, without their times."""
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [one | {"time": 0} for one in found if one["kind"] == kind]


def scores(out: Path) -> list[dict[str, Any]]:
    """The progressive metrics, window by window."""
    return [one for one in logged(out, "eval") if one["split"] == "progressive"]


def newest(out: Path) -> Path:
    """The newest checkpoint of a run."""
    folder = out / "checkpoints"
    return Path(str(step_folder(folder, max(saved_steps(folder)))))


def position(out: Path) -> dict[str, Any]:
    """The position in the log that it has."""
    found: dict[str, Any] = read_progress(newest(out)).source["follow"]
    return found
