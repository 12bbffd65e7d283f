"""Detects whether a scheduler or torchrun has restarted this job.

A restart continues from the saved state even with --overwrite, which would delete it otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Variable that counts starts, its first value, and variable with the job's name.
_COUNTERS = (
    ("TORCHELASTIC_RESTART_COUNT", 0, "TORCHELASTIC_RUN_ID"),
    ("SLURM_RESTART_COUNT", 0, "SLURM_JOB_ID"),
    ("AWS_BATCH_JOB_ATTEMPT", 1, "AWS_BATCH_JOB_ID"),
)


def is_restart() -> bool:
    """Whether this is a restart of the job."""
    return bool(_ids_of_restarts())


def this_job() -> dict[str, str]:
    """Return a name of this job that is the same on every start."""
    names = (name for _, _, name in _COUNTERS)
    return {name: os.environ[name] for name in names if name in os.environ}


def is_same_job(job: Mapping[str, str]) -> bool:
    """Whether `this_job` was recorded by an earlier start of this job."""
    return any(job.get(name) == os.environ.get(name) for name in _ids_of_restarts())


def has_no_name() -> bool:
    """Whether torchrun runs this job without --rdzv-id, so that it cannot be identified."""
    return os.environ.get("TORCHELASTIC_RUN_ID") == "none"


def _ids_of_restarts() -> list[str]:
    return [name for count, first, name in _COUNTERS if int(os.environ.get(count, first)) > first]
