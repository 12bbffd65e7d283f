"""TorchX components: what to run, on how many machines, as plain data.

    torchx run -s local_cwd launchers/torchx/components.py:train --nproc 2 -- kuairand
    torchx run -s slurm -cfg partition=P launchers/torchx/components.py:train --nnodes 2 --gpu 8

TorchX runs this file from its source and reads the annotations as text. So: no imports of ours,
and Optional, Dict and List from typing; `X | None` and `list[...]` are errors there.
"""

import os
from typing import Dict, List, Optional

from torchx import specs
from torchx.specs import macros

# TorchX fills in which variable holds the first node's name; only a shell on the node can read it.
# A scheduler that runs several jobs on a node gives each a port of its own in HOMEREC_RDZV_PORT.
_RENDEZVOUS_ON_FIRST_NODE = (
    f'export PET_RDZV_ENDPOINT="$${{{macros.rank0_env}:=localhost}}:$${{HOMEREC_RDZV_PORT:=%d}}"; '
    'exec "$$@"'
)

# With GPUs: a link or a library that fails says so. Anything else is the site's to set, by env.
_WITH_GPUS = {"NCCL_DEBUG": "WARN"}


def train(
    *args: str,
    nnodes: int = 1,
    min_nnodes: int = 0,
    nproc: int = 1,
    cpu: int = 0,
    gpu: int = 0,
    memMB: int = 0,
    h: Optional[str] = None,
    max_restarts: int = 0,
    max_retries: int = 0,
    grace: int = 60,
    name: str = "homerec",
    image: str = "homerec",
    env: Optional[Dict[str, str]] = None,
    mounts: Optional[List[str]] = None,
    rdzv_port: int = 29500,
    rdzv_endpoint: Optional[str] = None,
    subcommand: str = "train",
    m: str = "launchers.cli",
) -> specs.AppDef:
    """Trains on nnodes x nproc ranks, which torchrun starts on each node.

    Args:
        args: what follows 'homerec train': recipe, options and config overrides
        nnodes: machines
        min_nnodes: fewest machines that the job continues with; lost ones rejoin once they are
            back; needs max_restarts (0: all nnodes are needed)
        nproc: ranks on each machine; with GPUs one for each
        cpu: CPUs of each machine (0: the scheduler's own default)
        gpu: GPUs of each machine
        memMB: memory of each machine in MB (0: the scheduler's own default)
        h: a named resource of TorchX, instead of cpu, gpu and memMB, e.g. aws_p4d.24xlarge
        max_restarts: restarts of all ranks, in place, after one failed
        max_retries: times the scheduler starts a failed job again
        grace: seconds that ranks get to save a checkpoint when the job is stopped
        name: name of the job
        image: container image, for schedulers that use one
        env: more environment variables, as K1=v1,K2=v2
        mounts: for containers: type=bind,src=/host,dst=/job[,readonly]
        rdzv_port: port of the rendezvous store on the first machine
        rdzv_endpoint: HOST:PORT of a 'homerec rendezvous', used instead: the job then survives
            the loss of its first machine, too
        subcommand: the homerec subcommand that the ranks run: train or evaluate
        m: the Python module that holds it
    """
    variables = dict(env or {})
    asked = specs.Resource(cpu=cpu, gpu=gpu, memMB=memMB)
    resource = specs.get_named_resources(h) if h else asked
    cores = resource.cpu or os.cpu_count() or 1
    variables.setdefault("OMP_NUM_THREADS", str(max(1, cores // nproc)))
    variables.setdefault("COLUMNS", "120")  # a log has no width: room for tables
    if variables.get("HOMEREC_WARNINGS") != "1":
        # Else a machine that is gone shows as pages of C++ frames round the line that names it.
        variables.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if resource.gpu > 0:
        variables = {**_WITH_GPUS, **variables}
    if min_nnodes:
        # Else a machine that comes back waits for an address that the others, who know it from
        # before, do not say again (torch 2.13, DynamicRendezvousHandler.next_rendezvous).
        variables.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
        # For training/plan_from_file.py: torchrun tells ranks how many they are, not how many may
        # follow.
        variables["HOMEREC_NNODES"] = f"{min_nnodes}:{nnodes}"
    # As with the `homerec` command: a folder 'models' where one happens to be must not shadow ours.
    variables.setdefault("PYTHONSAFEPATH", "1")
    command = ["python", "-m", "launchers.elastic.agent"]
    machines = f"{min_nnodes}:{nnodes}" if min_nnodes else str(nnodes)
    command += ["--nnodes", machines, "--nproc_per_node", str(nproc)]
    command += ["--rdzv_backend", "homerec", "--rdzv_id", macros.app_id]
    command += ["--max_restarts", str(max_restarts), "--shutdown_timeout", str(grace)]
    command += ["--role", "rank", "--tee", "3"]
    rdzv_conf = f"patience={grace}"  # seconds left to the ranks here once the others are gone
    command += ["--rdzv_conf", f"{rdzv_conf},is_host=0" if rdzv_endpoint else rdzv_conf]
    if rdzv_endpoint:
        command += ["--rdzv_endpoint", rdzv_endpoint]
        if rdzv_endpoint.startswith("localhost:"):
            command += ["--local_addr", "localhost"]
    elif nnodes == 1:
        # Port 0: any free one. localhost: this machine's full name need not resolve.
        command += ["--rdzv_endpoint", "localhost:0", "--local_addr", "localhost"]
    else:
        command = ["bash", "-c", _RENDEZVOUS_ON_FIRST_NODE % rdzv_port, "bash", *command]
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
                min_replicas=min_nnodes or None,
                resource=resource,
                max_retries=max_retries,
                retry_policy=specs.RetryPolicy.APPLICATION,  # ranks restart together or not at all
                port_map={"c10d": rdzv_port},
                mounts=specs.parse_mounts(mounts) if mounts else [],
            )
        ],
    )
