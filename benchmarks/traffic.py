"""What a rank sends to others, counted from the collectives that really run, by purpose.

    with Traffic(model, world) as traffic:
        ...  # steps
    traffic.bytes["gradients"]

A mode of PyTorch's dispatcher sees every collective of every group, those that DDP starts in C++
too. Counted is the least that a rank must send for what was asked: an all-to-all's parts for
others; of n ranks' all-reduce of b bytes 2 (n - 1) / n b, of a reduce-scatter or all-gather of b
bytes a rank (n - 1) b, which a ring attains (Patarasuk and Yuan, 2009).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.ranks.world import World
from pipeline.training.parallelize import table_of

PURPOSES = {
    "ids": "ids and lengths of bags to the tables",
    "embeddings": "pooled rows back to the samples",
    "gradients": "the samples' gradients to the tables",
    "tables": "gradients of replicated tables",
    "tower": "gradients of the tower",
    "splits": "how many ids come from where",
    "statistics": "means over ranks inside the tower and its loss",
    "control": "what ranks tell each other of a step",
    "other": "anything else",
}


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is entered, on the thread that enters it; slow, as every operator passes.

    `bytes` and `calls` are by purpose, one of `PURPOSES`.
    """

    def __init__(self, model: nn.Module, world: World) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._control = world.control.group_name
        trained = [(table_of(name), p) for name, p in model.named_parameters()]
        self._of = {
            "tables": [p for table, p in trained if table is not None],
            "tower": [p for table, p in trained if table is None],
        }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            self._count(func.name().removeprefix("c10d::"), args)
        return func(*args, **(kwargs or {}))

    def _count(self, name: str, args: Sequence[Any]) -> None:
        group = next(dist.ProcessGroup.unbox(a) for a in args if isinstance(a, torch.ScriptObject))
        tensors = list(_tensors(args))
        if not tensors or group.size() == 1:
            return
        purpose = self._purpose(name, tensors[0], args, group)
        self.calls[purpose] += 1
        self.bytes[purpose] += sent(name, args, group)

    def _purpose(
        self, name: str, tensor: Tensor, args: Sequence[Any], group: dist.ProcessGroup
    ) -> str:
        if group.group_name == self._control:
            return "control"
        backward = torch._C._current_graph_task_id() != -1
        if name == "alltoall_base_" and not tensor.is_floating_point():
            return "ids" if _splits(args) else "splits"  # which alone come in equal parts
        if name.startswith(("alltoall", "reduce_scatter", "_reduce_scatter", "_allgather_base")):
            return "gradients" if backward else "embeddings"
        if not name.startswith("allreduce"):
            return "other"
        if tensor.dtype is torch.float64:  # the step guard's reports, the only such sum
            return "control"
        storage = tensor.untyped_storage().data_ptr()
        for purpose, parameters in self._of.items():
            # DDP sums its buckets, and the parameters' gradients are views of these.
            for parameter in parameters:
                gradient = parameter.grad
                if gradient is not None and gradient.untyped_storage().data_ptr() == storage:
                    return purpose
        return "statistics"


def sent(name: str, args: Sequence[Any], group: dist.ProcessGroup) -> int:
    """Bytes that this rank must send to others for the collective `name` of `group`."""
    n, me = group.size(), group.rank()
    if name == "alltoall_base_":
        whole = args[1]
        parts = _splits(args)
        own = parts[me] * whole.stride(0) if parts else whole.numel() // n
        return (whole.numel() - own) * whole.element_size()
    if name == "alltoall_":
        return sum(int(t.nbytes) for rank, t in enumerate(args[1]) if rank != me)
    if name.startswith("allreduce"):
        # What does not divide by n is a byte or so off.
        return sum(t.nbytes for t in args[0]) * 2 * (n - 1) // n
    if name.startswith(("allgather", "_allgather")):
        return sum(t.nbytes for t in _tensors(args[1])) * (n - 1)
    if name in ("_reduce_scatter_base_", "reduce_scatter_tensor_coalesced_"):
        return sum(t.nbytes for t in _tensors(args[1])) * (n - 1) // n
    if name == "reduce_scatter_":
        return sum(int(t.nbytes) for rank, t in enumerate(args[1][0]) if rank != me)
    if name in ("broadcast_", "scatter_"):
        root = next(a for a in args if isinstance(a, int))
        if me != root:
            return 0
        if name == "broadcast_":
            return sum(t.nbytes for t in args[0]) * (n - 1)
        return sum(int(t.nbytes) for rank, t in enumerate(args[1][0]) if rank != me)
    if name in ("reduce_", "gather_"):
        root = next(a for a in args if isinstance(a, int))
        return 0 if me == root else sum(t.nbytes for t in _tensors(args[name == "gather_"]))
    if name == "send":
        return sum(t.nbytes for t in args[0])
    assert name in ("barrier", "recv_", "recv_any_source_", "monitored_barrier_"), name
    return 0


def _splits(args: Sequence[Any]) -> list[int]:
    """What of alltoall_base_'s input goes to each rank; empty: equal parts."""
    return list(args[4])


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
