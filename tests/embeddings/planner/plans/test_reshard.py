"""What moves between two plans, against a count element by element."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.placed_table import PlacedTable
from embeddings.planner.plans.plan_file import PlanFile, PredictedRank
from embeddings.planner.plans.reshard import busy_seconds, reshard
from embeddings.planner.problem.options import MEMORIES, PARTS

RANKS, ROWS, DIM = 4, 7, 8
CLUSTER = load_cluster("h100-2x2")


@st.composite
def placed_tables(draw: st.DrawFn, table: ListedTable) -> PlacedTable:
    """The table in some layout, its shards on any ranks."""
    if draw(st.booleans()) and draw(st.booleans()):
        rows: tuple[tuple[int, int], ...] = ((table.rows, RANKS),)
        width, ranks = table.dim, list(range(RANKS))
        kind = "data_parallel"
    else:
        width = draw(st.sampled_from([4, 8]))
        cuts = sorted(draw(st.lists(st.integers(0, table.rows), max_size=3)))
        edges = [0, *cuts, table.rows]
        rows = tuple((b - a, 1) for a, b in pairwise(edges))
        shards = len(rows) * (table.dim // width)
        ranks = draw(st.lists(st.integers(0, RANKS - 1), min_size=shards, max_size=shards))
        kind = "grid_shard"
    return PlacedTable(
        table=table,
        path="bags",
        sharding_type=kind,
        compute_kernel="fused",
        width=width,
        rows=rows,
        ranks=",".join(map(str, ranks)),
        shard_ms=((0.0,) * len(PARTS),),
    )


def plan_of(*placed: PlacedTable) -> PlanFile:
    rank = PredictedRank(
        ms=dict.fromkeys(PARTS, 0.0),
        bytes=dict.fromkeys(MEMORIES, 0),
        room=dict.fromkeys(MEMORIES, 0),
    )
    return PlanFile(
        cluster=CLUSTER, batch_size=1, seed=0, rounds=0, cut_off=False, time_ms=0.0,
        lower_bound_ms=0.0, tables=placed, ranks=(rank,) * RANKS,
    )  # fmt: skip


def held(placed: PlacedTable) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """[R, rows, dim] which rank has which element."""
    found = np.zeros((RANKS, placed.table.rows, placed.table.dim), bool)
    rectangles = placed.rectangles().tolist()
    for (row, column, rows, columns), rank in zip(rectangles, placed.rank_list(), strict=True):
        found[rank, row : row + rows, column : column + columns] = True
    return found


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_what_moves_is_what_a_rank_lacks(data: st.DataObject) -> None:
    table = ListedTable(name="t", rows=ROWS, dim=DIM, dtype="fp16", optimizer="adagrad")
    old, new = data.draw(placed_tables(table)), data.draw(placed_tables(table))
    found = reshard(plan_of(old), plan_of(new))
    has, wants = held(old), held(new)
    lacks = wants & ~has
    # 2 bytes of weight and 4 of accumulator an element.
    assert found.sent.sum(axis=0).tolist() == (6 * lacks.sum(axis=(1, 2))).tolist()
    assert (found.sent.diagonal() == 0).all()
    # A rank sends no more to another than what it has of the other's part.
    most = 6 * np.einsum("irc,jrc->ij", has.astype(int), wants.astype(int))
    assert (found.sent <= most).all()
    assert sum(move.bytes for move in found.moves) == found.sent.sum()
    if old == new:
        assert not found.moves


def test_the_busiest_links_say_how_long_it_takes() -> None:
    sent = np.zeros((4, 4), np.int64)
    sent[0, 1], sent[0, 2], sent[3, 2] = 9 * 10**9, 10**9, 4 * 10**9
    # Rank 0 sends 9 GB at 450 GB/s within the host, 1 GB at 50 GB/s beyond it.
    assert busy_seconds(sent, CLUSTER).tolist() == pytest.approx(
        [9 / 450 + 1 / 50, 9 / 450, 1 / 50 + 4 / 450, 4 / 450]
    )


def test_row_wise_state_moves_with_its_rows() -> None:
    table = ListedTable(name="t", rows=10, dim=8)
    fields = {"table": table, "path": "bags", "sharding_type": "table_wise", "width": 8}
    fields |= {"compute_kernel": "fused", "rows": ((10, 1),), "shard_ms": ((0.0,) * len(PARTS),)}
    old, new = (PlacedTable.model_validate({**fields, "ranks": rank}) for rank in ("0", "3"))
    found = reshard(plan_of(old), plan_of(new))
    assert found.sent[0, 3] == found.sent.sum() == 10 * 8 * 4 + 10 * 4
    assert [(move.table, move.before, move.after) for move in found.moves] == [
        ("t", "table_wise on 0", "table_wise on 3")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "u"}, "the second plan has no table 't'"),
        ({"optimizer": "adam"}, "has optimizer rowwise_adagrad in the first plan and adam"),
    ],
)
def test_other_tables_are_rejected(change: dict[str, str], message: str) -> None:
    fields = {"path": "bags", "sharding_type": "table_wise", "width": 8, "ranks": "0"}
    fields |= {"compute_kernel": "fused", "rows": ((10, 1),), "shard_ms": ((0.0,) * len(PARTS),)}
    tables = [{"name": "t", "rows": 10, "dim": 8}, {"name": "t", "rows": 10, "dim": 8, **change}]
    first, second = (plan_of(PlacedTable.model_validate({**fields, "table": t})) for t in tables)
    with pytest.raises(ValueError, match=message):
        reshard(first, second)
