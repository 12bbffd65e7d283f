"""Bytes of real steps: what a plan needs by hand, by formula, and as counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure_steps import StepsMeasured, measure_steps
from benchmarks.traffic import Traffic
from pipeline.config.overrides import resolve
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, global_batch, rank_batch
from tests.ranks import run_ranks

_ROWS, _STEPS = 64, 3
_KINDS = ("table_wise", "column_wise", "row_wise", "grid_shard", "data_parallel")
# Sharding type, and what rows and gradients are sent as.
_WAYS = [(kind, "fp32", "fp32") for kind in _KINDS] + [
    ("table_wise", "fp16", "bf16"),
    ("row_wise", "bf16", "fp16"),
]
Way = tuple[str, str, str]


def _table_wise(rank: int, size: int) -> tuple[dict[str, int], dict[str, int]]:
    """What this rank sent in some steps, and the rank of each table."""
    world = this_world()
    run = config(("table_wise",))
    chosen = resolve_features(run, SCHEMA)
    _, parallel = build(run, chosen, world)
    pipeline = open_pipeline(parallel, world)
    parallel.model.train()
    keys = [feature.name for feature in chosen.features]
    batches = [rank_batch(step, rank, size, keys) for step in range(_STEPS + 1)]
    pipeline.progress(iter(batches[:1]))  # DDP lays out its buckets
    feed = iter(batches[1:])
    with Traffic(parallel.model, world) as traffic:
        for _ in range(_STEPS):
            pipeline.progress(feed)
    return dict(traffic.bytes), {row["table"]: row["ranks"][0] for row in parallel.plan["tables"]}


def test_whole_tables_send_what_one_counts_by_hand() -> None:
    ranks: list[tuple[dict[str, int], dict[str, int]]] = run_ranks(_table_wise, 2)
    table_of = {"item": "item", "user": "user", "history": "item", "tab": "tab"}
    dims = {"item": 16, "user": 16, "tab": 8}
    half = _ROWS // 2
    for rank, (sent, place) in enumerate(ranks):
        theirs = [f for f, table in table_of.items() if place[table] != rank]
        own = [f for f, table in table_of.items() if place[table] == rank]
        ids = 0
        for step in range(1, _STEPS + 1):
            bags = global_batch(step)["history"][rank * half : (rank + 1) * half]
            length = {f: half for f in table_of} | {"history": sum(map(len, bags))}
            ids += sum(8 * length[feature] + 8 * half for feature in theirs)  # int64 both, here
        assert sent["ids"] == ids
        assert sent["embeddings"] == _STEPS * 4 * half * sum(dims[table_of[f]] for f in own)
        assert sent["gradients"] == _STEPS * 4 * half * sum(dims[table_of[f]] for f in theirs)


def _measured(rank: int, size: int, data: Path) -> dict[Way, StepsMeasured]:
    found = {}
    for way in _WAYS:
        words = ["--data.path", str(data), "--sharding.types", way[0]]
        words += ["--sharding.qcomm_forward", way[1], "--sharding.qcomm_backward", way[2]]
        run = resolve("debug", None, words)
        found[way] = measure_steps(run, this_world(), timed=1, counted=3)
    return found


@pytest.fixture(scope="module")
def measured(synthetic: Path) -> dict[Way, StepsMeasured]:
    found: dict[Way, StepsMeasured] = run_ranks(_measured, 2, synthetic)[0]
    return found


@pytest.mark.parametrize("way", _WAYS)
def test_nothing_is_sent_beyond_the_least(way: Way, measured: dict[Way, StepsMeasured]) -> None:
    found = measured[way]
    assert {row["sharding_type"] for row in found.plan["tables"]} == {way[0]}
    assert found.counted == 3 * 256
    sent = {purpose: size for purpose, size in found.sent.items() if purpose in found.least}
    assert sent == {purpose: size for purpose, size in found.least.items() if size}
    assert set(found.sent) - set(found.least) <= {"splits", "statistics", "control"}
    assert sum(found.sent.values()) <= found.on_wire
    assert found.seconds > 0
    assert found.processor_seconds > 0


def test_types_differ_as_they_should(measured: dict[Way, StepsMeasured]) -> None:
    """Two ranks: sums over both for all samples, against whole rows for the half that is away."""
    by_kind = {kind: measured[kind, "fp32", "fp32"] for kind in _KINDS}
    whole, rows = by_kind["table_wise"].sent, by_kind["row_wise"].sent
    assert rows["embeddings"] == 2 * whole["embeddings"]
    assert "ids" not in by_kind["data_parallel"].sent
    cells = sum(row["rows"] * row["dim"] for row in by_kind["data_parallel"].plan["tables"])
    assert by_kind["data_parallel"].sent["tables"] == 3 * 2 * 4 * cells
    assert whole["tower"] == rows["tower"] > 0


@pytest.mark.parametrize("way", [way for way in _WAYS if way[1] != "fp32"])
def test_half_the_bytes_in_half_the_bits(way: Way, measured: dict[Way, StepsMeasured]) -> None:
    full, half = measured[way[0], "fp32", "fp32"].sent, measured[way].sent
    for purpose in ("embeddings", "gradients"):
        assert 2 * half[purpose] == full[purpose]
    assert half["ids"] == full["ids"]
