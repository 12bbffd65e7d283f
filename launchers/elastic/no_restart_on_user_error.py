"""Prevents restarts after a user's mistake: torchrun restarts ranks after any failure.

An elastic job may restart its ranks a hundred times. For an invalid field this would take an hour
and repeat the same error in a log.
"""

from __future__ import annotations

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.launcher import api

from pipeline.io.exit_codes import ExitCode


class NoRestartOnUserError(LocalElasticAgent):
    """torchrun's agent, without restarts if a rank ended with a user's mistake."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        codes = [failure.exitcode for failure in result.failures.values()]
        if result.state == WorkerState.FAILED and ExitCode.USER_ERROR in codes:
            self._remaining_restarts = 0
        return result


def register() -> None:
    """Make torchrun in this process use this agent; it has no option for this."""
    api.LocalElasticAgent = NoRestartOnUserError  # type: ignore[attr-defined]
