"""Runs a job on this machine: output, signals, exit code.

TorchX's local scheduler starts one torchrun agent per node in a separate session, and the agent
starts each rank in a separate session. A terminal's Ctrl-C reaches neither, and a killed agent
leaves its ranks running. Therefore this module forwards signals and leaves no process behind.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchx.specs import AppState, is_terminal, macros

from launchers.local import processes
from launchers.local.console import print_notice
from launchers.local.rank_logs import RankConsole, RankLog
from launchers.torchx.literal import literal
from pipeline.io.exit_codes import ExitCode
from pipeline.io.interrupts import NUMBERS
from pipeline.io.rank_exit import describe_code, read_exit

GRACE_S = 60
"""Seconds that ranks get to save and exit after a signal; then their agent kills them."""

_STUCK_S = GRACE_S + 30  # an agent that still runs by then is stuck
# Agents end together; one that runs for longer than this is waiting for a dead one.
_STRAGGLE_S = 15
_POLL_S = 0.1
_EXIT = ".exit"


def run_here(
    runner: Any, app: Any, cfg: dict[str, Any], *, nproc: int, restarts: int | None = None
) -> int:
    """Run `app` (nproc ranks on each node) with TorchX's local scheduler; show its output.

    Args:
        restarts: of an elastic job: number of restarts of each node after its agent was killed.
            The job succeeds when the agent of one node does.

    Returns:
        0; USER_ERROR after a user's mistake, whose line is printed last; STOPPED after a signal;
        RANK_LOST if a rank was lost, whose name is printed last; else FAILED, with the traceback
        of the rank that failed first. The last two also print the folder of all logs.
    """
    base = cfg.get("log_dir")
    if base:
        Path(base).mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="homerec-launch-", dir=base)).resolve()
    role = app.roles[0]
    # Use this Python, regardless of PATH.
    role.env["PATH"] = literal(os.path.dirname(sys.executable))
    # torchrun writes each rank's streams to separate files, so that lines cannot mix.
    role.env["PET_LOG_DIR"] = f"{literal(str(logs))}/node{macros.replica_id}"
    # Make tables as wide as the terminal, and wide in a log.
    role.env["COLUMNS"] = str(shutil.get_terminal_size(fallback=(120, 24)).columns)
    # The output of ranks goes to files, which are UTF-8 regardless of the terminal's encoding.
    role.env["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    command = [role.entrypoint, *role.args]
    if restarts is not None:
        exit_file = f"{literal(str(logs))}/node{macros.replica_id}{_EXIT}"
        supervisor = [
            "python",
            "-m",
            "launchers.elastic.node_supervisor",
            "--restarts",
            str(restarts),
            "--exit-file",
            exit_file,
        ]
        command = [*supervisor, "--", *command]
    role.entrypoint, *role.args = processes.dying_with_parent(command)
    request = runner.dryrun(app, "local_cwd", {**cfg, "log_dir": str(logs)})

    processes.adopt_orphans()
    store = _start_rendezvous_store(role.args) if restarts is not None else None
    job = _Job(logs, nproc, [Path(d) for d in request.request.role_log_dirs[role.name]], restarts)
    with noted_signals() as noted:
        try:
            handle = runner.schedule(request)
            job.note_agents()
            succeeded = job.follow(runner, handle, noted)
        finally:
            processes.send(signal.SIGKILL, job.processes())
            if store:
                store.terminate()
                store.wait()
    code = job.conclude(succeeded, noted)
    if code not in (1, ExitCode.RANK_LOST) and not base:
        shutil.rmtree(logs)
    return code


@contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """Append SIGINT, SIGTERM and SIGUSR1 to a list when they arrive, with no other effect."""
    noted: list[signal.Signals] = []
    old = {n: signal.signal(n, lambda got, _: noted.append(signal.Signals(got))) for n in NUMBERS}
    try:
        yield noted
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _start_rendezvous_store(args: Sequence[str]) -> subprocess.Popen[bytes]:
    """Run the rendezvous store in a separate process, so that any node may be lost."""
    endpoint = args[args.index("--rdzv_endpoint") + 1]
    command = [sys.executable, "-m", "launchers.cli", "rendezvous"]
    command += ["--port", endpoint.rpartition(":")[2]]
    return subprocess.Popen(processes.dying_with_parent(command), stdout=subprocess.DEVNULL)


class _Job:
    def __init__(
        self, logs: Path, nproc: int, agents: Sequence[Path], restarts: int | None
    ) -> None:
        self._elastic = restarts is not None
        self._logs = logs
        self._nproc = nproc
        self._agents = agents
        self._ranks: dict[Path, RankLog] = {}
        self._console = RankConsole()
        self._agent_lost = False
        self._agent_pids: set[int] = set()
        self._others = set(processes.below(os.getpid()))

    def processes(self) -> list[int]:
        """Return the job's processes: agents, ranks and their children; parents first."""
        return [pid for pid in processes.below(os.getpid()) if pid not in self._others]

    def note_agents(self) -> None:
        """Record the agents' pids at the start; later, orphaned ranks are our children, too."""
        self._agent_pids = self._children()

    def follow(self, runner: Any, handle: str, noted: Sequence[signal.Signals]) -> bool:
        """Show output and forward signals until the job ends; returns whether it succeeded."""
        seen = 0
        stop_at = kill_at = math.inf
        stopping = False
        while True:
            state = runner.status(handle).state
            self._show(last=is_terminal(state))
            if is_terminal(state):
                return bool(state == AppState.SUCCEEDED) or 0 in self._exits()
            now = time.monotonic()
            if len(noted) > seen:
                if seen:
                    kill_at = now
                else:
                    print_notice(
                        "stopping: the ranks save a checkpoint first "
                        "(press Ctrl-C again to kill them)"
                    )
                    stop_at = now
                seen = len(noted)
            elif len(self._agents) > 1 and stop_at == math.inf and self._an_agent_ended():
                stop_at = now + _STRAGGLE_S
            if now >= stop_at and not stopping:
                # Always SIGTERM, as on clusters. torchrun forwards it to each rank.
                processes.send(signal.SIGTERM, self._children())  # also ranks without an agent
                stopping = True
                self._agent_lost = not noted
                kill_at = min(kill_at, now + _STUCK_S)
            if now >= kill_at:
                # Kill ranks before their agents, so that none is orphaned.
                processes.send(signal.SIGKILL, reversed(self.processes()))
            time.sleep(_POLL_S)

    def _children(self) -> set[int]:
        return set(processes.children(os.getpid())) - self._others

    def _exits(self) -> list[int]:
        """Return the exit codes of the nodes of an elastic job that will not restart."""
        return [
            int(path.read_text(encoding="utf-8") or -1) for path in self._logs.glob(f"node*{_EXIT}")
        ]

    def _an_agent_ended(self) -> bool:
        if self._elastic:
            return 0 in self._exits()  # the others continue without a lost node
        return len(self._agent_pids & self._children()) < len(self._agents)

    def _show(self, *, last: bool) -> None:
        for path in sorted(self._logs.glob("node*/*/attempt_*/*/stderr.log")):
            if path not in self._ranks:
                node = int(path.relative_to(self._logs).parts[0].removeprefix("node"))
                rank = node * self._nproc + int(path.parent.name)
                self._ranks[path] = RankLog(rank, path.parent)
            self._ranks[path].show(self._console, last=last)

    def conclude(self, succeeded: bool, noted: Sequence[signal.Signals]) -> int:
        """Print how the job ended, the cause last; returns the exit code."""
        if succeeded:
            self._release()
            return 0
        if self._show_ends(ExitCode.USER_ERROR):  # also after a signal: the save failed
            return ExitCode.USER_ERROR
        failures = [end for agent in self._agents if (end := read_exit(agent / "error.json"))]
        if noted:
            self._release()
            return ExitCode.STOPPED
        if not failures:  # torchrun itself failed
            self._release()
            print_notice(f"torchrun failed; logs are kept in {self._logs}")
            for agent in self._agents:
                text = (agent / "stderr.log").read_text(encoding="utf-8", errors="replace")
                sys.stderr.write(text)
            return 1
        first = min(failures, key=lambda end: end.order)
        if first.code in (ExitCode.STOPPED, -signal.SIGTERM):
            self._release()
            if self._agent_lost:  # we stopped the job, because the others could not continue
                print_notice(
                    "the agent (torchrun) of a machine was killed; the other ranks have saved; "
                    f"logs of all ranks are kept in {self._logs}"
                )
                return 1
            self._show_ends(ExitCode.STOPPED)
            return ExitCode.STOPPED
        if first.code == ExitCode.RANK_LOST:
            self._release()
            print_notice(
                f"rank {first.rank} lost another rank; logs of all ranks are kept in {self._logs}"
            )
            self._show_ends(ExitCode.RANK_LOST)
            return ExitCode.RANK_LOST
        how = describe_code(first.code)
        print_notice(f"rank {first.rank} {how}; logs of all ranks are kept in {self._logs}")
        (log,) = (log for log in self._latest() if log.rank == first.rank)
        sys.stderr.writelines(f"{line}\n" for line in log.traceback)
        return 1

    def _show_ends(self, code: ExitCode) -> bool:
        """Print the error lines of ranks with this code, each once; False if there are none."""
        ends = [end for log in self._latest() if (end := log.exit) and end.code == code]
        for line in dict.fromkeys(end.line for end in ends):
            self._console.write(0, line, sys.stderr)
        return bool(ends)

    def _latest(self) -> Iterable[RankLog]:
        """Return the logs of the ranks' last attempts."""
        return {log.rank: log for log in self._ranks.values()}.values()

    def _release(self) -> None:
        for rank in self._ranks.values():
            rank.release(self._console)
