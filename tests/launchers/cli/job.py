"""Stands in for `launchers.cli` where only the launching is tested: a rank that needs no torch."""

import os
import signal
import sys
from pathlib import Path

from pipeline.io.errors import RankLost, UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.rank_exit import RankExit, exit_of, write_exit
from pipeline.tracking.progress_line import progress_line


def main() -> int:
    """`python -m tests.launchers.cli.job train WHAT`, as rank RANK; returns its exit code."""
    what, rank = sys.argv[2], int(os.environ["RANK"])
    if tries := os.environ.get("TRIES"):
        with (Path(tries) / "tries").open("a", encoding="utf-8") as file:
            file.write(f"rank {rank}\n")
        ready = Path(tries) / "ready"
        if ready.exists():  # a FIFO: rank 1 continues after rank 0 has written its line
            ready.write_bytes(b"x") if rank == 0 else ready.read_bytes()
    if what == "report":
        out = [f"{sys.argv[1:]} in {Path.cwd().name}", os.environ["OMP_NUM_THREADS"]]
        out += [progress_line("train", n, 2, samples_per_s=9.0, loss=0.5, eta_s=0) for n in (1, 2)]
        sys.stdout.write("".join(f"{line}\n" for line in out if rank == 0))
        sys.stderr.write(f"warning of rank {rank}\n")
        return 0
    if what == "user-error":
        return _end(UserError("data.path 'x': no such folder"))
    if what == "lost" and rank == 0:
        return _end(RankLost("step 7: rank 1 on n1 does not answer"))
    if rank == 1 and what == "raise":
        raise RuntimeError("the reason")
    if rank == 1 and what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 and what == "stopped":  # before any handler of it is there
        os.kill(os.getpid(), signal.SIGTERM)
    _wait_for(signal.SIGUSR1 if what == "deaf" else signal.SIGTERM)
    sys.stdout.write(f"rank {rank} saved\n")
    write_exit(RankExit(code=ExitCode.STOPPED, message="stopped by a signal"))
    return ExitCode.STOPPED


def _end(error: Exception) -> int:
    end = exit_of(error)
    write_exit(end)
    sys.stderr.write(f"{end.line}\n")
    return end.code


def _wait_for(number: signal.Signals) -> None:
    """Hold the test's pipe open until the signal comes; SIGTERM alone does not end us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {number, signal.SIGTERM})
    if "ALIVE" in os.environ:
        os.write(os.open(os.environ["ALIVE"], os.O_WRONLY), b"x")
    signal.sigwait({number})


if __name__ == "__main__":
    sys.exit(main())
