"""A point of a sweep says of its plan what the plan is."""

from __future__ import annotations

import dataclasses

import numpy as np

from embeddings.planner.advice.sweep import Point
from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of


def test_memory_is_that_of_the_fullest_rank() -> None:
    request = request_of([ListedTable(name="a", rows=1000, dim=64)], load_cluster("h100-2x1"))
    used = np.array([[10, 0, 0], [40, 0, 0]])
    room = np.array([[20, 5, 0], [400, 5, 0]])
    solution = dataclasses.replace(find_plan(request, Budget(rounds=0)), memory=used, room=room)
    row = Point(values={}, solution=solution, error=None, seconds=0.0).row()
    assert row["memory"] == {"hbm": [10, 10], "ddr": [0, 0], "ssd": [0, 0]}
    assert row["room"] == {"hbm": 20, "ddr": 5, "ssd": 0}
