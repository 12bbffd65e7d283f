"""Two machines and what can become of the link between them, or of a rank across it.

Loopback cannot show it: there a peer that is gone says so. Frames that get lost say nothing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torchx.specs import macros

from launchers.local.processes import below, send
from launchers.torchx.components import train
from pipeline.checkpoint.layout import saved_steps
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.io.exit_codes import ExitCode
from tests.integration.training.runs import tensors
from tests.net.hosts import Host, lacking, two_hosts
from tests.net.wire import Wire
from tests.slurm.box import REQUIRED, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
STEPS, SAVED, TIMEOUT = 150, 25, 5
TRAIN = ["debug", "--data.path", "data", "--train.batch_size", "256", "--train.epochs", "20"]
TRAIN += ["--train.max_steps", str(STEPS), "--train.eval_every", str(SAVED)]
TRAIN += ["--train.log_every", "5", "--train.timeout", str(TIMEOUT), "--model.tower.dropout", "0.1"]


@dataclass
class Machines:
    """Both hosts, the wire, and a folder with data that both see."""

    folder: Path
    hosts: list[Host]
    wire: Wire
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, run: str, *words: str) -> None:
        """One agent of one rank on each host, as a scheduler starts them; left has rank 0."""
        component = train(*TRAIN, *words, "--out", run, nnodes=2, nproc=1, cpu=1, grace=5)
        (role,) = component.roles
        role = macros.Values("", "net", "0", rank0_env="FIRST").apply(role)
        env = {**os.environ, **role.env, "PYTHONPATH": str(ROOT), "FIRST": self.hosts[0].name}
        env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [role.entrypoint, *role.args]
        self.agents = [
            host.start(command, self.folder, self.folder / f"{host.name}.log", env)
            for host in self.hosts
        ]

    def reach(self, run: str, step: int) -> None:
        log = self.folder / run / "metrics.jsonl"

        def reached() -> bool:
            assert self.running(), self.logs()
            return log.exists() and f'"step": {step},' in log.read_text(encoding="utf-8")

        until(reached, f"step {step} of {run}")

    def running(self) -> bool:
        return all(agent.poll() is None for agent in self.agents)

    def end(self) -> list[int]:
        """Exit codes of both agents, which end by themselves."""
        until(lambda: None not in [agent.poll() for agent in self.agents], "the agents end")
        return [agent.wait() for agent in self.agents]

    def rank(self, at: int) -> int:
        """The process of the rank on a host."""
        (pid,) = (
            pid
            for pid in below(self.agents[at].pid)
            if b"\0-u\0-m\0launchers.cli\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        return pid

    def logs(self) -> str:
        return "\n".join(self.log(host) for host in self.hosts)

    def log(self, host: Host) -> str:
        return (self.folder / f"{host.name}.log").read_text(encoding="utf-8")

    def last(self, at: int) -> str:
        """The last line that the agent on a host wrote."""
        return self.log(self.hosts[at]).rstrip().rpartition("\n")[2]

    def different(self, run: str, scratch: Path) -> list[str]:
        """Names of tensors, optimizers' too, that the ends of `run` and 'plain' differ in."""
        name = f"checkpoints/step-{STEPS:08d}"
        left = tensors(self.folder / "plain" / name, scratch)
        right = tensors(self.folder / run / name, scratch)
        assert left.keys() == right.keys()
        return [key for key in left if not torch.equal(left[key], right[key])]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The machines, and a run 'plain' that nothing happens to."""
    if reason := lacking():
        if os.environ.get(REQUIRED):
            pytest.fail(f"no two machines here: {reason}")
        pytest.skip(f"no two machines here: {reason}")
    folder = tmp_path_factory.mktemp("net")
    prepare_synthetic(folder / "data", rows=8_000, seed=3)
    with two_hosts(folder) as (hosts, wire):
        machines = Machines(folder, hosts, wire)
        machines.start("plain")
        assert machines.end() == [0, 0], machines.logs()
        assert min(wire.carried) > STEPS
        yield machines


@pytest.fixture
def machines(up: Machines) -> Iterator[Machines]:
    """Both idle, and the wire whole."""
    yield up
    up.wire.repair()
    up.wire.delay = 0.0
    for agent in up.agents:
        send(signal.SIGKILL, [agent.pid, *below(agent.pid)])
        agent.wait()


def test_slow_broken_for_a_moment_then_cut_the_run_continues_bit_equal(
    machines: Machines, tmp_path: Path
) -> None:
    machines.wire.delay = 0.002
    machines.start("cut")
    machines.reach("cut", 30)
    machines.wire.delay = 0.0
    carried = list(machines.wire.carried)
    machines.wire.cut()
    until(lambda: machines.wire.lost > 5, "frames are lost")
    assert machines.running()
    machines.wire.repair()
    machines.reach("cut", 60)
    assert min(machines.wire.carried) > max(carried)

    machines.wire.cut()
    assert machines.end() == [ExitCode.RANK_LOST, ExitCode.RANK_LOST], machines.logs()
    word = r"^homerec: lost: step (\d+): rank "
    left = re.match(word + r"1 on right does not answer \(its last word", machines.last(0))
    right = re.match(word + r"0 on left is not reachable from here \(right\);", machines.last(1))
    assert left, machines.log(machines.hosts[0])
    assert right, machines.log(machines.hosts[1])
    assert 60 <= int(left[1]) < STEPS
    assert "frame #" not in machines.logs()  # torch's C++ traceback

    machines.wire.repair()
    (newest,) = saved_steps(machines.folder / "cut" / "checkpoints")[-1:]
    assert newest % SAVED == 0
    machines.start("cut", "--resume", "auto")
    assert machines.end() == [0, 0], machines.logs()
    assert f"resumed after step {newest}" in machines.logs()
    assert machines.different("cut", tmp_path) == []


def test_a_link_that_loses_one_way_ends_both_sides(machines: Machines) -> None:
    machines.start("oneway")
    machines.reach("oneway", 30)
    machines.wire.dead = {0}  # what left says is lost; what right says arrives
    assert machines.end() == [ExitCode.RANK_LOST, ExitCode.RANK_LOST], machines.logs()
    assert "rank 1 on right" in machines.last(0)
    assert "rank 0 on left" in machines.last(1)


def test_a_rank_that_is_alive_but_frozen_is_named_and_its_machine_ends_too(
    machines: Machines,
) -> None:
    machines.start("frozen")
    machines.reach("frozen", 30)
    send(signal.SIGSTOP, [machines.rank(0)])
    assert machines.end() == [ExitCode.RANK_LOST, ExitCode.RANK_LOST], machines.logs()
    word = r"homerec: lost: step \d+: rank 0 on left does not answer \(its last word was from step"
    assert re.match(word, machines.last(1)), machines.log(machines.hosts[1])
    assert machines.last(0).startswith("homerec: lost: another machine ended the job, and ranks")
