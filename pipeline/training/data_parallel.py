"""Averages the tower's gradient over ranks, in the same way in every step of every process."""

from __future__ import annotations

from torchrec.distributed.model_parallel import DefaultDataParallelWrapper


def data_parallel(ranks: int) -> DefaultDataParallelWrapper:
    """DistributedDataParallel without rebuilding its buckets.

    By default DDP rebuilds its buckets after the first step of a process, in the order of
    gradients. The position of a gradient determines the order of summation over three or more
    ranks, so the first step after a resume would differ by rounding. DDP does not rebuild buckets
    if it searches for unused parameters, which costs a traversal of the graph and one small
    exchange per step.
    """
    if ranks <= 2:  # a sum of two does not depend on the order
        return DefaultDataParallelWrapper()
    return DefaultDataParallelWrapper(static_graph=False, find_unused_parameters=True)
