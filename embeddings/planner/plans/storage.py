"""A plan's memory by kind, as counted by TorchRec: weights, optimizer state, buffers."""

from __future__ import annotations

import numpy as np

from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.inputs.rules import ASKED_FOR
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.plans.reshard import bytes_of
from embeddings.planner.problem.options import MEMORIES

KINDS = ("weights", "optimizer state", "buffers and caches")


def fullest(used: IntArray, room: IntArray) -> IntArray:
    """Return the rank whose memory is used most relative to what it has, by MEMORIES, [3].

    Ranks may differ in memory, so that this is not always the one that uses most. `used`, `room`:
    [R, 3] bytes.
    """
    found: IntArray = (used / np.maximum(room, 1)).argmax(axis=0)
    return found


def memory_by_kind(file: PlanFile) -> IntArray:
    """Return bytes by KINDS, rank and MEMORIES, [K, R, 3]; their sum over kinds is `file.memory()`.

    Buffers contain the ids and rows of a batch; caches belong to `fused_uvm_caching` tables.
    """
    used, _ = file.memory()
    found = np.zeros((len(KINDS), *used.shape), np.int64)
    for placed in file.tables:
        if placed.compute_kernel in ASKED_FOR and placed.compute_kernel != "key_value":
            continue  # TorchRec counts no weights of virtual tables
        ranks = placed.rank_list()
        rectangles = placed.rectangles()
        elements = rectangles[:, 2] * rectangles[:, 3]
        memory = MEMORIES.index(_memory_of(placed, file.cluster.device))
        for kind, bytes_each in enumerate(_bytes_of_element(placed)):
            amount = np.ceil(elements * bytes_each).astype(np.int64)
            np.add.at(found[kind, :, memory], ranks, amount)
    found[2] = used - found[0] - found[1]
    assert (found >= 0).all(), "more weights than TorchRec counts"
    return found


def _memory_of(placed: PlacedTable, device: str) -> str:
    """Return the memory that contains the full shard."""
    if placed.compute_kernel == "key_value":
        return "ssd"
    return "ddr" if device == "cpu" or "uvm" in placed.compute_kernel else "hbm"


def _bytes_of_element(placed: PlacedTable) -> tuple[int, float]:
    """Return bytes of weights and optimizer state.

    For row-wise state, TorchRec counts a share for each column, in the type of the weights
    (shard_estimators.py, _get_optimizer_multipler), although every shard has its own state.
    """
    table = placed.table
    weights = bytes_of(table.model_copy(update={"optimizer": "sgd"}))[1]
    times = {"rowwise_adagrad": 1 / table.dim, "adagrad": 1, "adam": 2, "sgd": 0}
    return weights, weights * times[table.optimizer]
