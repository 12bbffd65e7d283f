"""A trial as a process: a run that `homerec launch` starts through TorchX, watched by its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launchers.local.rank_logs import USER_ERROR
from pipeline.evaluate import figure


class TrialRun:
    """Runs `homerec train WORDS --out FOLDER`, or goes on with what is in `folder` already.

    It lives in a session of its own, so that a terminal's Ctrl-C does not reach it; it is told to
    stop when this process dies. What it prints goes to `log`.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        log: Path,
        *,
        nproc: int,
        cpus: int,
        keep_open: int,
    ) -> None:
        """`cpus` of this machine are for it; `keep_open`: a file that stays open until it ends."""
        again = (folder / "config.json").exists()
        train = ["train", "--out", str(folder), *(["--resume"] if again else words)]
        launch = ["launch", "--nproc", str(nproc), "--cpu", str(cpus), "--name", folder.name]
        command = [sys.executable, "-m", "launchers.experiments.trial_job", *launch, "--", *train]
        self._folder = folder
        self._log = log
        self._told: set[int] = set()
        self._begin = time.monotonic()
        self.pruned = False
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._start_of_log = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: see trial_job
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[keep_open],
                # As with the `homerec` command: folders of ours where one happens to be.
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begin

    def poll(self) -> int | None:
        """The exit code, once it has ended; negative if a signal killed the launcher."""
        code = self._process.poll()
        if code is not None and self._process.stdin:
            self._process.stdin.close()
        return code

    def stop(self) -> None:
        """Let it save and end. Once more: end at once."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Until it has ended; the exit code."""
        self._process.wait()
        code = self.poll()
        assert code is not None
        return code

    def new_evaluations(self, select: str) -> list[tuple[int, float]]:
        """Steps and figures that were not told yet, in order. A figure that is null is left out."""
        new = [(at, value) for at, value in evaluations(self._folder, select)]
        new = [(at, value) for at, value in new if at not in self._told]
        self._told.update(at for at, _ in new)
        return new

    def last_words(self) -> str:
        """Why it failed, in one line: the user's error, or else the last thing it said."""
        text = self._log.read_bytes()[self._start_of_log :].decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(USER_ERROR)]
        if errors:
            return errors[-1].removeprefix(USER_ERROR)
        return lines[-1] if lines else f"said nothing; see {self._log}"


def evaluations(folder: Path, select: str) -> list[tuple[int, float]]:
    """Step and `select` of each evaluation in a run's metrics.jsonl, as far as it is written."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines(keepends=True):
        # Many lines of training lie between: only those of evaluations are worth reading.
        if not line.endswith("\n") or '"kind": "eval"' not in line:
            continue
        record = json.loads(line)
        results: dict[str, dict[str, float | None]] = {}
        for name, value in record.items():
            task, slash, kind = name.rpartition("/")
            if slash:
                results.setdefault(task, {})[kind] = value
        value = figure(results, select)
        if value is not None:
            found.append((int(record["step"]), value))
    return found
