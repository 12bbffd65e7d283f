"""TorchX components: what to run, on how many machines, as plain data.

    torchx run -s local_cwd launchers/components.py:train --nproc 2 -- kuairand --train.epochs 2
    torchx run -s slurm -cfg partition=P launchers/components.py:train --nnodes 2 --nproc 8 --gpu 8

TorchX runs this file from its source and reads the annotations as text. So: no imports of ours,
and Optional, Dict and List from typing; `X | None` and `list[...]` are errors there.
"""

import os
from typing import Dict, List, Optional

from torchx import specs
from torchx.specs import macros

# TorchX fills in which variable holds the first node's name; only a shell on the node can read it.
_MEET_ON_FIRST_NODE = (
    f'export PET_RDZV_ENDPOINT="$${{{macros.rank0_env}:=localhost}}:%d"; exec "$$@"'
)


def train(
    *args: str,
    nnodes: int = 1,
    nproc: int = 1,
    cpu: int = 0,
    gpu: int = 0,
    memMB: int = 0,
    max_restarts: int = 0,
    grace: int = 60,
    name: str = "homerec",
    image: str = "homerec",
    env: Optional[Dict[str, str]] = None,
    mounts: Optional[List[str]] = None,
    rdzv_port: int = 29500,
    subcommand: str = "train",
    m: str = "launchers.cli",
) -> specs.AppDef:
    """Trains on nnodes x nproc ranks; torchrun starts them on each node.

    Args:
        args: what follows 'homerec train': recipe, options and config overrides
        nnodes: machines
        nproc: ranks on each machine; with GPUs one for each
        cpu: CPUs of each machine (0: the scheduler's own default)
        gpu: GPUs of each machine
        memMB: memory of each machine in MB (0: the scheduler's own default)
        max_restarts: how often torchrun starts all ranks again after one failed
        grace: seconds that ranks get to save a checkpoint when the job is told to stop
        name: name of the job
        image: container image, for schedulers that use one
        env: more environment variables, as K1=v1,K2=v2
        mounts: for containers: type=bind,src=/host,dst=/job[,readonly]
        rdzv_port: port on the first machine where several machines meet
        subcommand: the homerec subcommand that the ranks run: train or evaluate
        m: the Python module that holds it
    """
    variables = dict(env or {})
    cores = cpu or os.cpu_count() or 1
    variables.setdefault("OMP_NUM_THREADS", str(max(1, cores // nproc)))
    # As with the `homerec` command: a folder 'models' where one happens to be must not shadow ours.
    variables.setdefault("PYTHONSAFEPATH", "1")
    command = ["python", "-m", "torch.distributed.run"]
    command += ["--nnodes", str(nnodes), "--nproc_per_node", str(nproc)]
    command += ["--rdzv_backend", "c10d", "--rdzv_id", macros.app_id]
    command += ["--max_restarts", str(max_restarts), "--shutdown_timeout", str(grace)]
    command += ["--role", "rank", "--tee", "3"]
    if nnodes == 1:
        # Port 0: any free one. localhost: this machine's full name need not resolve.
        command += ["--rdzv_endpoint", "localhost:0", "--local_addr", "localhost"]
    else:
        command = ["bash", "-c", _MEET_ON_FIRST_NODE % rdzv_port, "bash", *command]
    command += ["-m", m, subcommand, *args]
    return specs.AppDef(
        name=name,
        roles=[
            specs.Role(
                name="train",
                image=image,
                entrypoint=command[0],
                args=command[1:],
                env=variables,
                num_replicas=nnodes,
                resource=specs.Resource(cpu=cpu, gpu=gpu, memMB=memMB),
                port_map={"c10d": rdzv_port},
                mounts=specs.parse_mounts(mounts) if mounts else [],
            )
        ],
    )
