"""A job as a user starts it, with a fault that it meets, and what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.kills.faults import DAMAGING, Fault
from launchers.local import processes
from pipeline.checkpoint.layout import saved_steps, step_folder
from pipeline.checkpoint.manifest import NAME, digest
from pipeline.io.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]

_ALL = ((-signal.SIGKILL,), "")
# Exit codes, and words of the log.
_SAID: dict[str, tuple[tuple[int, ...], str]] = {
    "rank": ((1,), "was killed by SIGKILL"),
    "agent": ((1, ExitCode.RANK_LOST), ""),
    "all": _ALL,
    "sigterm": ((128 + signal.SIGTERM,), "stopped by a signal"),
    "disk": ((2,), "No space left on device"),
    "truncated": _ALL,
    "flipped": _ALL,
}


@dataclass(frozen=True)
class End:
    """How a start ended.

    Attributes:
        code: the launcher's exit code; negative: the signal that killed it.
        seconds: from start to end.
        log: what it wrote.
        saved: the finished checkpoints it left.
        valid: those of them that still are, now that the fault has damaged one.
        struck: whether it met its fault.
    """

    code: int
    seconds: float
    log: str
    saved: list[int]
    valid: list[int]
    struck: bool

    def as_it_should(self, how: str) -> bool:
        """Whether the launcher said what is right for such a death."""
        code, words = _SAID[how]
        return self.code in code and words in self.log


@dataclass(frozen=True)
class Job:
    """Always the same run in the same folder; only ranks and faults change."""

    data: Path
    out: Path
    words: tuple[str, ...]

    def start(self, ranks: int, fault: Fault | None, *, resume: bool) -> End:
        """Start it, see to its fault, and wait for its end. No process of it is left."""
        mark = self.out.parent / "mark"
        met = mark.with_suffix(".struck")
        for file in (mark, met):
            file.unlink(missing_ok=True)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HOMEREC_MARK": str(mark)}
        env |= {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        if fault:
            env["HOMEREC_FAULT"] = json.dumps(asdict(fault))
        command = [sys.executable, "-m", "benchmarks.kills.launching"]
        # An agent that dies leaves others behind only where there are others.
        agents = 2 if fault and fault.how == "agent" and ranks % 2 == 0 else 1
        command += ["--nnodes", str(agents), "--nproc", str(ranks // agents), "--"]
        command += ["train", "debug", "--data.path", str(self.data), "--out", str(self.out)]
        command += [*self.words, *(["--resume", "auto"] if resume else [])]
        began = time.monotonic()
        with tempfile.TemporaryFile(
            "w+", encoding="utf-8"
        ) as lines:  # not on the disk that may be full
            process = subprocess.Popen(command, stdout=lines, stderr=lines, env=env)
            while process.poll() is None:
                if mark.exists() and fault:
                    _act(process.pid, fault, mark, self.out)
                time.sleep(0.005)
            lines.seek(0)
            log = lines.read()
        _ballast(self.out).unlink(missing_ok=True)
        while left := processes.below(os.getpid()):
            processes.send(signal.SIGKILL, left)
            time.sleep(0.005)
        struck = met.exists()
        before = self.valid_steps()
        if fault and fault.how in DAMAGING and struck:
            struck = self._damage(fault.how)
        seconds = time.monotonic() - began
        return End(process.returncode, seconds, log, before, self.valid_steps(), struck)

    def valid_steps(self) -> list[int]:
        """Steps that are saved, but for those that were damaged and not saved again."""
        damaged = self._seals.read_text(encoding="utf-8") if self._seals.exists() else ""
        steps = saved_steps(self.out / "checkpoints")
        return [step for step in steps if digest(self._manifest(step)).sha256 not in damaged]

    @property
    def _seals(self) -> Path:
        return self.out.parent / "damaged"

    def _manifest(self, step: int) -> Path:
        return Path(str(step_folder(self.out / "checkpoints", step))) / NAME

    def _damage(self, how: str) -> bool:
        """The largest file of the newest checkpoint, cut short or with a bit turned; whether it
        was valid before. Not the only one: nothing would be left to resume from."""
        if (
            len(self.valid_steps()) < 2
            or saved_steps(self.out / "checkpoints")[-1:] != self.valid_steps()[-1:]
        ):
            return False
        manifest = self._manifest(self.valid_steps()[-1])
        with self._seals.open("a", encoding="utf-8") as seals:
            seals.write(digest(manifest).sha256 + "\n")
        file = max(manifest.parent.iterdir(), key=lambda f: f.stat().st_size)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data[: len(data) // 2] if how == "truncated" else data)
        return True


def _act(launcher: int, fault: Fault, mark: Path, out: Path) -> None:
    """What the rank that waits in its place cannot do itself."""
    waiting = int(mark.read_text(encoding="utf-8"))
    mark.unlink()
    while (
        Path(f"/proc/{waiting}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] not in "TZ"
    ):
        time.sleep(0.001)
    if fault.how == "disk":
        _fill(_ballast(out))
        os.kill(waiting, signal.SIGCONT)
    else:
        # The launcher first: whatever it would tidy up stays as it lies.
        processes.send(signal.SIGKILL, [launcher, *processes.below(launcher)])


def _ballast(out: Path) -> Path:
    return out.parent / "ballast"


def _fill(path: Path) -> None:
    """Until the disk takes no more."""
    size = 1 << 20
    with path.open("wb", buffering=0) as file:
        while size >= 1:
            try:
                if file.write(bytes(size)) < size:
                    size //= 2
            except OSError:
                size //= 2
