"""Builds the sharded tables of a plan, and runs a step in parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardedTensor, ShardingEnv, ShardingPlan
from torchrec.optim.optimizers import in_backward_optimizer_filter

from embeddings.lookups import lookups
from embeddings.planner.inputs.table_list import OPTIMIZERS, build_module
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.sharders import all_sharders
from pipeline.io.errors import UserError
from pipeline.planning.synthetic_ids import synthetic_ids
from pipeline.ranks.world import World

LEARNING_RATE = 0.01
# Fused optimizers of FBGEMM's lookups on CPU.
_ON_CPU = ("rowwise_adagrad", "adagrad", "sgd")


class ShardedTables:
    """All collections of a plan over the ranks, with one batch of synthetic ids.

    `parts()` runs a step part by part, `step()` as in training. Both are collective.
    """

    def __init__(self, file: PlanFile, world: World, seed: int) -> None:
        _check(file, world)
        self._world = world
        self._timed = False
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, int] = {}
        self._waited = 0.0
        groups: defaultdict[str, list[PlacedTable]] = defaultdict(list)
        for placed in file.tables:
            groups[placed.path].append(placed)
        whole = file.sharding_plan()
        modules, plan = {}, {}
        self._batches = {}
        for n, (path, group) in enumerate(groups.items()):
            tables = [placed.table for placed in group]
            # A path holds one collection, and a list of one collection's tables builds just it.
            (modules[f"tables{n}"],) = build_module(tables, trained=True).children()
            plan[f"tables{n}"] = whole.plan[path]
            self._batches[f"tables{n}"] = synthetic_ids(
                tables, file.batch_size, seed + world.rank, world.device
            )
        model = DistributedModelParallel(
            nn.ModuleDict(modules),
            env=ShardingEnv.from_process_group(dist.group.WORLD),
            device=world.device,
            plan=ShardingPlan(plan),
            sharders=all_sharders(),
        )
        self.model = model
        self._collections: dict[str, Any] = dict(model.module.items())
        for lookup in lookups(model):
            if isinstance(lookup, DistributedDataParallel):
                # DDP inspects annotations, which must not be strings: a lambda has none.
                lookup.register_comm_hook(None, lambda _, bucket: self._exchange(bucket))
        self._replicated = _replicated_optimizers(model, file)

    def parts(self) -> dict[str, float]:
        """Return seconds of every part of a step on this rank; all ranks start each part together.

        As in TorchRec's estimate, bwd_comms includes the optimizer of replicated tables. Also
        returns two parts of bwd_comms: all_reduce, optimizer.
        """
        self._timed = True
        self.seconds = {"all_reduce": 0.0}
        self.bytes = {"gradients": 0}
        self._waited = 0.0
        contexts = {name: each.create_context() for name, each in self._collections.items()}
        with self._clock("input_dist_comms"):
            ids = self._distribute(contexts)
        self.bytes["ids"] = sum(_id_bytes(each) for each in ids.values())
        with self._clock("fwd_compute"):
            looked_up = {
                name: each.compute(contexts[name], ids[name])
                for name, each in self._collections.items()
            }
        leaves = {
            name: [tensor.detach().requires_grad_() for tensor in tensors]
            for name, tensors in looked_up.items()
        }
        self.bytes["outputs"] = sum(t.nbytes for each in leaves.values() for t in each)
        with self._clock("fwd_comms"):
            results = [
                tensor
                for name, each in self._collections.items()
                for tensor in _tensors(each.output_dist(contexts[name], leaves[name]).wait())
            ]
        gradients = [torch.full_like(tensor, 1e-3) for tensor in results]
        with self._clock("bwd_comms"):
            torch.autograd.backward(results, gradients)
        pairs = [
            (tensor, leaf.grad)
            for name in leaves
            for tensor, leaf in zip(looked_up[name], leaves[name], strict=True)
            if leaf.grad is not None
        ]
        with self._clock("bwd_compute"):
            if pairs:  # this rank may have no table
                torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
        with self._clock("optimizer"):
            self._step_replicated()
        self.seconds["bwd_compute"] -= self.seconds["all_reduce"] + self._waited
        self.seconds["bwd_comms"] += self.seconds["all_reduce"] + self.seconds["optimizer"]
        return dict(self.seconds)

    def step(self) -> tuple[float, float]:
        """Return seconds of a step on this rank after the exchange of ids, without barriers.

        Returns wall-clock and CPU time; the latter excludes waiting for other ranks.
        """
        self._timed = False
        contexts = {name: each.create_context() for name, each in self._collections.items()}
        ids = self._distribute(contexts)
        self.seconds = {}
        with self._clock("step"):
            began = process_time()
            waiting = [
                each.compute_and_output_dist(contexts[name], ids[name])
                for name, each in self._collections.items()
            ]
            results = [tensor for each in waiting for tensor in _tensors(each.wait())]
            torch.autograd.backward(results, [torch.full_like(t, 1e-3) for t in results])
            self._step_replicated()
            self._finish()
            busy = process_time() - began
        return self.seconds["step"], busy

    def local_bytes(self) -> dict[str, int]:
        """Return bytes of this rank's shards and of their optimizer state."""
        shards = _bytes_of(self.model.state_dict())
        optimizers = [self.model.fused_optimizer, *self._replicated]
        return {"weights": shards, "optimizer": sum(_bytes_of(o.state_dict()) for o in optimizers)}

    def _distribute(self, contexts: dict[str, Any]) -> dict[str, Any]:
        waiting = {
            name: each.input_dist(contexts[name], self._batches[name])
            for name, each in self._collections.items()
        }
        sent = {name: each.wait() for name, each in waiting.items()}
        return {name: each.wait() for name, each in sent.items()}

    def _step_replicated(self) -> None:
        for optimizer in self._replicated:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)  # DDP's buckets are these tensors

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        self._meet()
        began = perf_counter()
        yield
        self._finish()
        self.seconds[part] = perf_counter() - began

    def _meet(self) -> None:
        self._finish()
        dist.barrier(group=self._world.control)

    def _finish(self) -> None:
        if self._world.device.type == "cuda":
            torch.cuda.synchronize(self._world.device)

    def _exchange(self, bucket: Any) -> torch.futures.Future[Tensor]:
        """DDP's own mean of gradients; on the clock alone if parts are asked for."""
        gradient = bucket.buffer()
        gradient.div_(self._world.size)
        if not self._timed:
            work = dist.all_reduce(gradient, async_op=True)
            return work.get_future().then(lambda done: done.value()[0])
        began = perf_counter()
        self._meet()  # do not count waiting for ranks that still compute
        met = perf_counter()
        dist.all_reduce(gradient)
        self._finish()
        self._waited += met - began
        self.seconds["all_reduce"] += perf_counter() - met
        self.bytes["gradients"] += gradient.nbytes
        found: torch.futures.Future[Tensor] = torch.futures.Future()
        found.set_result(gradient)
        return found


def _check(file: PlanFile, world: World) -> None:
    """Raise UserError for a table that this device cannot run."""
    for placed in file.tables:
        table = placed.table
        on_cpu = world.device.type == "cpu" and not placed.copied
        if on_cpu and table.optimizer not in _ON_CPU:
            raise UserError(
                f"table {table.name!r}: optimizer {table.optimizer} has no fused kernel on CPU; "
                f"measure on GPUs, or a plan with one of {', '.join(_ON_CPU)}"
            )


def _replicated_optimizers(
    model: DistributedModelParallel, file: PlanFile
) -> list[torch.optim.Optimizer]:
    """Return optimizers of data-parallel tables, which are not fused, one per kind of update."""
    by_kind: defaultdict[str, list[nn.Parameter]] = defaultdict(list)
    kinds = {placed.table.name: placed.table.optimizer for placed in file.tables if placed.copied}
    for name, parameter in in_backward_optimizer_filter(model.named_parameters()):
        by_kind[kinds[name.split(".")[-2]]].append(parameter)
    kinds_of: dict[str, Any] = dict(OPTIMIZERS)  # their common base class has no rate
    return [kinds_of[kind](own, lr=LEARNING_RATE) for kind, own in by_kind.items()]


def _tensors(result: Any) -> list[Tensor]:
    """Of a KeyedTensor, or of the rows by feature."""
    if isinstance(result, dict):
        return [each.values() for each in result.values()]
    return [result.values()]


def _id_bytes(features: Any) -> int:
    return sum(each.values().nbytes for each in features)


def _bytes_of(state: Any) -> int:
    """Return the bytes of all tensors in nested dicts and lists, of sharded ones the local part."""
    if isinstance(state, ShardedTensor):  # also a Tensor
        return sum(shard.tensor.nbytes for shard in state.local_shards())
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_bytes_of, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(_bytes_of, state))
    return 0
