"""Generates the batch script of a Slurm job."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchx.specs import Role

from pipeline.io.exit_codes import ExitCode

JOB_NUMBER = "\0"
"""Placeholder of the job number in words and variables; it cannot occur in other words."""

# Signals are forwarded from srun to torchrun to the ranks. Bash runs a trap only after a foreground
# command has ended, so the script uses `&` and `wait`, and `wait` again after a trap interrupts it.
#
# A job with --requeue requeues itself on the warning before its time limit. It must also do so when
# it is preempted: Slurm requeues only jobs that still run after the grace time, and a job that has
# saved and exited before counts as failed. On preemption the ranks get SIGTERM, but this script
# gets no signal. PreemptTime of an earlier start remains, so compare it with StartTime.
_BODY = """\
export PATH={python}:"$PATH"
export HOMEREC_FIRST_NODE HOMEREC_RDZV_PORT
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
HOMEREC_FIRST_NODE=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
HOMEREC_RDZV_PORT=$((20000 + SLURM_JOB_ID % 10000))
export PYTHONUNBUFFERED=1

received=
pass_on() {{ received=$1; echo "homerec: $2: the ranks save a checkpoint first" >&2; \
kill -s USR1 "$step" 2>/dev/null; }}
trap 'pass_on USR1 "the time limit is near"' USR1
trap 'pass_on TERM "the job was asked to stop"' TERM

srun {options} \\
    {command} &
step=$!
wait "$step"; code=$?
while kill -s 0 "$step" 2>/dev/null; do wait "$step"; code=$?; done

preempted() {{ scontrol show job --oneliner "$SLURM_JOB_ID" \
    | sed -n 's/.* StartTime=\\([^ ]*\\).* PreemptTime=\\([0-9][^ ]*\\).*/\\1 \\2/p' \\
    | {{ read -r start at && [[ ! "$at" < "$start" ]]; }}; }}

again=
if [ "$received" = USR1 ] && [ "$code" -ne 0 ]; then
    again={again}
elif [ -z "$received" ] && [ "$code" -ne 0 ] && preempted; then
    received=PREEMPTED again={again}
elif [ -z "$received" ] && [ "$code" -ne 0 ] && [ "$code" -ne {user_error} ] \\
    && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; then
    again=yes
fi
state=FAILED
[ "$code" -eq 0 ] && state=COMPLETED
[ "$received" = TERM ] && state=CANCELLED
[ "$received" = PREEMPTED ] && state=PREEMPTED
cat > {exit_file} <<EXIT
JobState=$state
ExitCode=$code:0
Restarts=${{SLURM_RESTART_COUNT:-0}}
NumNodes=$SLURM_JOB_NUM_NODES
NodeList=$SLURM_JOB_NODELIST
EXIT
if [ -n "$again" ]; then
    echo "homerec: exit code $code: requeueing the job" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


@dataclass(frozen=True)
class Script:
    """A job with one task per node, an agent that starts the node's ranks.

    Attributes:
        name: name of the job.
        role: the role of each node, with all macros substituted except the job number.
        folder: folder of logs and exit file, without control characters.
        options: options of sbatch, without control characters.
        requeue: whether the job is requeued when it loses a node or reaches its time limit.
        grace: seconds before the time limit at which the ranks are asked to save.
    """

    name: str
    role: Role
    folder: Path
    options: Mapping[str, str]
    requeue: bool
    grace: int

    def __str__(self) -> str:
        header = "".join(f"#SBATCH --{key}{value}\n" for key, value in self._header())
        environment = "".join(
            f"export {name}={_quoted(value)}\n" for name, value in self.role.env.items()
        )
        logs = f"{self._log}-{self.role.name}-%t"
        srun = {
            "output": f"{logs}.out",
            "error": f"{logs}.err",
            "open-mode": "append",
            # After a node's ranks have failed, the others get time to report their own errors.
            "kill-on-bad-exit": "0",
            "wait": "120",
        }
        body = _BODY.format(
            python=shlex.quote(os.path.dirname(sys.executable)),
            options=" ".join(f"--{key}={shlex.quote(value)}" for key, value in srun.items()),
            command=" ".join(map(_quoted, [self.role.entrypoint, *self.role.args])),
            again="yes" if self.requeue else "",
            user_error=ExitCode.USER_ERROR,
            retries=self.role.max_retries,
            exit_file=f'{shlex.quote(str(self.folder))}/"slurm-$SLURM_JOB_ID.exit"',
        )
        return f"#!/bin/bash\n{header}\n{environment}{body}"

    @property
    def _log(self) -> str:
        """Prefix of log paths. In Slurm %j is the job number, and %% a percent sign."""
        return str(self.folder).replace("%", "%%") + "/slurm-%j"

    def _header(self) -> list[tuple[str, str]]:
        role, resource = self.role, self.role.resource
        asked: list[tuple[str, object]] = [
            ("job-name", self.name),
            ("nodes", role.num_replicas),
            ("ntasks-per-node", 1),
        ]
        if resource.cpu > 0:
            asked.append(("cpus-per-task", resource.cpu))
        if resource.memMB > 0:
            asked.append(("mem", resource.memMB))
        if resource.gpu > 0 and "gres" not in self.options:
            asked.append(("gpus-per-node", resource.gpu))
        asked += self.options.items()
        if self.grace:
            asked.append(("signal", f"B:USR1@{self.grace}"))
        asked += [("output", f"{self._log}.log"), ("open-mode", "append")]
        # A retry requeues, too, which Slurm does only for a job that allows it.
        again = "requeue" if self.requeue or role.max_retries else "no-requeue"
        return [(key, f"={_escaped(str(value))}") for key, value in asked] + [(again, "")]


def _escaped(value: str) -> str:
    """Quote for sbatch: blanks need quotes, and # needs a backslash."""
    if re.fullmatch(r"[\w@%+=:,./-]*", value):
        return value
    return '"' + re.sub(r"""([\\"#])""", r"\\\1", value) + '"'


def _quoted(word: str) -> str:
    """Quote for bash, substituting the job number."""
    return '"$SLURM_JOB_ID"'.join(map(shlex.quote, word.split(JOB_NUMBER)))
