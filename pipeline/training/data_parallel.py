"""How the tower's gradient is averaged over ranks: alike in every step of every process."""

from __future__ import annotations

from torchrec.distributed.model_parallel import DefaultDataParallelWrapper


def data_parallel(ranks: int) -> DefaultDataParallelWrapper:
    """DistributedDataParallel that keeps its first layout of buckets.

    Otherwise it lays them out anew after a process's first step, in the order in which gradients
    came; and where a gradient lies decides in which order three ranks and more are summed. So the
    first step after a resume would differ by a bit from the one that it takes the place of. Only
    where it looks for parameters without a gradient does it leave the layout alone: a walk over
    the graph and one small exchange a step.
    """
    if ranks <= 2:  # a sum of two is the same either way
        return DefaultDataParallelWrapper()
    return DefaultDataParallelWrapper(static_graph=False, find_unused_parameters=True)
