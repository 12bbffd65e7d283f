"""TorchX components: define the command and resources of a job.

    torchx run -s local_cwd launchers/torchx/components.py:train --nproc 2 -- kuairand
    torchx run -s slurm -cfg partition=P launchers/torchx/components.py:train --nnodes 2 --gpu 8

TorchX runs this file from its source and reads the annotations as text. Therefore it cannot import
our modules and uses Optional, Dict and List from typing; TorchX rejects `X | None` and `list[...]`.
"""

import os
from typing import Dict, List, Optional

from torchx import specs
from torchx.specs import macros

# TorchX substitutes the variable with the first node's name; only a shell on the node can read it.
# A scheduler that runs several jobs per node sets a separate port for each in HOMEREC_RDZV_PORT.
_RENDEZVOUS_ON_FIRST_NODE = (
    f'export PET_RDZV_ENDPOINT="$${{{macros.rank0_env}:=localhost}}:$${{HOMEREC_RDZV_PORT:=%d}}"; '
    'exec "$$@"'
)

# With GPUs: make failing links and libraries report errors. Sites set anything else with env.
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
    """Trains on nnodes x nproc ranks; torchrun starts nproc ranks per node.

    Args:
        args: arguments of 'homerec train': recipe, options and config overrides
        nnodes: number of machines
        min_nnodes: minimum number of machines to continue with; lost ones rejoin when they return;
            needs max_restarts (0: all nnodes are needed)
        nproc: ranks per machine; with GPUs one per GPU
        cpu: CPUs per machine (0: the scheduler's default)
        gpu: GPUs per machine
        memMB: memory per machine in MB (0: the scheduler's default)
        h: a named resource of TorchX, instead of cpu, gpu and memMB, e.g. aws_p4d.24xlarge
        max_restarts: maximum number of restarts of all ranks after a failure
        max_retries: maximum number of restarts of a failed job by the scheduler
        grace: seconds that ranks get to save a checkpoint when the job is stopped
        name: name of the job
        image: container image, for schedulers that use one
        env: more environment variables, as K1=v1,K2=v2
        mounts: for containers: type=bind,src=/host,dst=/job[,readonly]
        rdzv_port: port of the rendezvous store on the first machine
        rdzv_endpoint: HOST:PORT of a 'homerec rendezvous' to use instead, so that the job also
            survives the loss of its first machine
        subcommand: homerec subcommand of the ranks: train or evaluate
        m: Python module of the homerec command
    """
    variables = dict(env or {})
    asked = specs.Resource(cpu=cpu, gpu=gpu, memMB=memMB)
    resource = specs.get_named_resources(h) if h else asked
    cores = resource.cpu or os.cpu_count() or 1
    variables.setdefault("OMP_NUM_THREADS", str(max(1, cores // nproc)))
    variables.setdefault("COLUMNS", "120")  # wide tables in logs
    if variables.get("HOMEREC_WARNINGS") != "1":
        # Otherwise pages of C++ frames hide the line that names a lost machine.
        variables.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if resource.gpu > 0:
        variables = {**_WITH_GPUS, **variables}
    if min_nnodes:
        # Otherwise a returning machine waits for an address that the others do not publish again
        # (torch 2.13, DynamicRendezvousHandler.next_rendezvous).
        variables.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
        # For training/plan_from_file.py: torchrun sets the current number of ranks only, not the
        # possible range.
        variables["HOMEREC_NNODES"] = f"{min_nnodes}:{nnodes}"
    # As for the `homerec` command: a folder 'models' in the working directory must not shadow ours.
    variables.setdefault("PYTHONSAFEPATH", "1")
    command = ["python", "-m", "launchers.elastic.agent"]
    machines = f"{min_nnodes}:{nnodes}" if min_nnodes else str(nnodes)
    command += ["--nnodes", machines, "--nproc_per_node", str(nproc)]
    command += ["--rdzv_backend", "homerec", "--rdzv_id", macros.app_id]
    command += ["--max_restarts", str(max_restarts), "--shutdown_timeout", str(grace)]
    command += ["--role", "rank", "--tee", "3"]
    rdzv_conf = f"patience={grace}"  # seconds to exit after the job has ended elsewhere
    command += ["--rdzv_conf", f"{rdzv_conf},is_host=0" if rdzv_endpoint else rdzv_conf]
    if rdzv_endpoint:
        command += ["--rdzv_endpoint", rdzv_endpoint]
        if rdzv_endpoint.startswith("localhost:"):
            command += ["--local_addr", "localhost"]
    elif nnodes == 1:
        # Port 0: any free port. localhost: this machine's full name may not resolve.
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


def serve(
    *args: str,
    model: str = "model",
    keys: str = "",
    port: int = 8000,
    replicas: int = 1,
    cpu: int = 2,
    memMB: int = 2048,
    name: str = "homerec-serve",
    image: str = "homerec-serve:0.1.0",
    env: Optional[Dict[str, str]] = None,
    mounts: Optional[List[str]] = None,
    max_retries: int = 3,
) -> specs.AppDef:
    """Serves an exported model: one server per replica.

    Args:
        args: more options of 'homerec serve'
        model: the model folder, as the servers see it
        keys: file of keys, as the servers see it; without one, they only answer their own machine
        port: port that they listen on
        replicas: number of servers
        cpu: CPUs of a server
        memMB: memory of a server in MB
        name: name of the job
        image: container image, for schedulers that use one
        env: more environment variables, as K1=v1,K2=v2
        mounts: for containers: type=bind,src=/host,dst=/job[,readonly]
        max_retries: maximum number of restarts of a failed server by the scheduler
    """
    command = ["-m", "launchers.cli", "serve", "--model", model, "--port", str(port)]
    if keys:
        command += ["--host", "0.0.0.0", "--keys", keys]
    return specs.AppDef(
        name=name,
        roles=[
            specs.Role(
                name="serve",
                image=image,
                entrypoint="python",
                args=[*command, *args],
                env={"PYTHONSAFEPATH": "1", **(env or {})},
                num_replicas=replicas,
                resource=specs.Resource(cpu=cpu, gpu=0, memMB=memMB),
                max_retries=max_retries,
                retry_policy=specs.RetryPolicy.REPLICA,
                port_map={"http": port},
                mounts=specs.parse_mounts(mounts) if mounts else [],
            )
        ],
    )
