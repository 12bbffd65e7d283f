"""The batch script of a job on Slurm: plain data to the text that sbatch reads."""

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
"""What stands for the job's number in words and variables; no other word can hold it."""

# Signals reach the ranks through srun, which passes them to torchrun, and torchrun to them. Bash
# runs a trap only once a foreground command has ended: hence `&` and `wait`, and `wait` again,
# for a trap cuts it short.
#
# On the warning before the end of its time a job with --requeue goes back into the queue by
# itself. So it must when it is preempted, for Slurm requeues only what is still there when the
# grace time is over: to have saved and ended before counts as failed. Then the ranks get SIGTERM
# and this script none; an earlier start's PreemptTime stays, so it must not be before StartTime.
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
trap 'pass_on USR1 "the end of the time limit is near"' USR1
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
    echo "homerec: exit code $code: back into the queue" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


@dataclass(frozen=True)
class Script:
    """A job: one task a node, which is an agent that starts the node's ranks.

    Attributes:
        name: the job's.
        role: what each node runs, macros filled in but for the job's number.
        folder: where its logs and exit file go.
        options: for sbatch; without control characters, as is `folder`.
        requeue: whether it goes back into the queue when it lost its nodes or its time is up.
        grace: seconds before the end of its time at which the ranks are asked to save.
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
            # A node whose ranks failed leaves the others the time to say so themselves.
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
        """Where logs begin: to Slurm %j is the job's number, and %% a percent sign."""
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
    """For sbatch: only in quotes is a blank part of a word, and only after a backslash a #."""
    if re.fullmatch(r"[\w@%+=:,./-]*", value):
        return value
    return '"' + re.sub(r"""([\\"#])""", r"\\\1", value) + '"'


def _quoted(word: str) -> str:
    """For bash, with the job's number where the word names it."""
    return '"$SLURM_JOB_ID"'.join(map(shlex.quote, word.split(JOB_NUMBER)))
