"""No restart after a user's mistake: torchrun restarts ranks whatever they ended for.

An elastic job may start its ranks a hundred times. With a field that is wrong that is an hour of
silence, and each time the same line in a log that nobody looks at.
"""

from __future__ import annotations

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.launcher import api

from pipeline.io.exit_codes import ExitCode


class NoRestartOnUserError(LocalElasticAgent):
    """torchrun's agent, which gives up where a rank ended for a user's mistake."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        codes = [failure.exitcode for failure in result.failures.values()]
        if result.state == WorkerState.FAILED and ExitCode.USER_ERROR in codes:
            self._remaining_restarts = 0
        return result


def register() -> None:
    """Make torchrun in this process use that agent, for which it has no option."""
    api.LocalElasticAgent = NoRestartOnUserError  # type: ignore[attr-defined]
