"""Whether a scheduler or torchrun has started this job again with the same words, and which it is.

Such a start continues what an earlier one saved, whatever the words say: to overwrite it would undo
that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# A variable that counts the starts, what it is on the first, and the variable that names the job.
_COUNTERS = (
    ("TORCHELASTIC_RESTART_COUNT", 0, "TORCHELASTIC_RUN_ID"),
    ("SLURM_RESTART_COUNT", 0, "SLURM_JOB_ID"),
    ("AWS_BATCH_JOB_ATTEMPT", 1, "AWS_BATCH_JOB_ID"),
)


def is_restart() -> bool:
    """Whether this job was started before."""
    return bool(_ids_of_restarts())


def this_job() -> dict[str, str]:
    """What names this job, the same on every start of it."""
    names = (name for _, _, name in _COUNTERS)
    return {name: os.environ[name] for name in names if name in os.environ}


def is_same_job(job: Mapping[str, str]) -> bool:
    """Whether `this_job` was that on an earlier start of this job, which is a restart."""
    return any(job.get(name) == os.environ.get(name) for name in _ids_of_restarts())


def has_no_name() -> bool:
    """Whether torchrun runs this job without --rdzv-id: all such jobs look the same."""
    return os.environ.get("TORCHELASTIC_RUN_ID") == "none"


def _ids_of_restarts() -> list[str]:
    return [name for count, first, name in _COUNTERS if int(os.environ.get(count, first)) > first]
