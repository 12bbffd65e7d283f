"""Weighted bags: sharded equals unsharded, a weight of 2 is an id twice, resumed equals whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torchrec import KeyedJaggedTensor

from embeddings.config import SHARDING_TYPES
from models.layers.config import AttentionConfig
from pipeline.data.schema import Schema, SparseFeature
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.integration.training.runs import tensors
from tests.integration.training.test_row_weights import folder_of, train_and_resume
from tests.ranks import run_ranks

_STEPS = 5


def schema_of(pooling: str, weights: str | None) -> Schema:
    update = {"pooling": pooling, "weights": weights}
    return SCHEMA.model_copy(
        update={
            "sparse": tuple(
                one.model_copy(update=update if one.multi else {}) for one in SCHEMA.sparse
            )
        }
    )


def weighted(sparse: KeyedJaggedTensor) -> KeyedJaggedTensor:
    """History's ids get weights by id: 0, 1, 2 or 3; so do all ids of a row, on any rank."""
    weights = [
        bag.values() % 4 if name == "history" else torch.ones(len(bag.values()))
        for name, bag in sparse.to_dict().items()
    ]
    return KeyedJaggedTensor(
        keys=sparse.keys(),
        values=sparse.values(),
        lengths=sparse.lengths(),
        weights=torch.cat(weights).float(),
        stride=sparse.stride(),
    )


def repeated(sparse: KeyedJaggedTensor) -> KeyedJaggedTensor:
    """Every id as often as its weight says."""
    heavy = weighted(sparse)
    counts = heavy.weights().long()
    row_of = torch.repeat_interleave(torch.arange(len(heavy.lengths())), heavy.lengths().long())
    return KeyedJaggedTensor(
        keys=heavy.keys(),
        values=heavy.values().repeat_interleave(counts),
        lengths=torch.zeros(len(heavy.lengths()), dtype=torch.int64).index_add(0, row_of, counts),
        stride=heavy.stride(),
    )


def train_some(rank: int, size: int, kind: str, pooling: str, way: str) -> list[list[float]]:
    run = config((kind,))
    chosen = resolve_features(run, schema_of(pooling, "w" if way == "weights" else None))
    _, parallel = build(run, chosen, this_world())
    pipeline = open_pipeline(parallel, this_world())
    parallel.model.train()
    keys = [feature.name for feature in chosen.features]
    batches = [rank_batch(step, rank, size, keys) for step in range(_STEPS)]
    for batch in batches:
        batch.sparse = {"weights": weighted, "repeats": repeated}[way](batch.sparse)
    feed, losses = iter(batches), []
    for _ in range(_STEPS):
        loss = pipeline.progress(feed).losses_T
        torch.distributed.all_reduce(loss)
        losses.append((loss / size).tolist())
    return losses


def attended(rank: int, size: int) -> list[list[float]]:
    """Attention over `history` beside `tabs`, a weighted bag of another table."""
    plain = config(("row_wise",))
    attention = AttentionConfig(events={"seen": {"history": "item"}}, hidden=8)
    model = plain.model.model_copy(update={"attention": attention})
    run = plain.model_copy(update={"model": model})
    tabs = SparseFeature(name="tabs", group="item", table="tab", multi=True, weights="w")
    schema = SCHEMA.model_copy(update={"sparse": (*SCHEMA.sparse, tabs)})
    chosen = resolve_features(run, schema)
    _, parallel = build(run, chosen, this_world())
    pipeline = open_pipeline(parallel, this_world())
    parallel.model.train()
    keys = [feature.name for feature in SCHEMA.sparse]
    batches = [rank_batch(step, rank, size, keys) for step in range(_STEPS)]
    for batch in batches:
        sparse = weighted(batch.sparse)
        bag = sparse["history"]
        batch.sparse = KeyedJaggedTensor(
            keys=[*keys, "tabs"],
            values=torch.cat([sparse.values(), bag.values() % 5]),
            lengths=torch.cat([sparse.lengths(), bag.lengths()]),
            weights=torch.cat([torch.ones(len(sparse.values())), bag.weights()]),
            stride=sparse.stride(),
        )
    feed, losses = iter(batches), []
    for _ in range(_STEPS):
        loss = pipeline.progress(feed).losses_T
        torch.distributed.all_reduce(loss)
        losses.append((loss / size).tolist())
    return losses


def train_each(rank: int, size: int) -> dict[str, Any]:
    found = {
        f"{kind} {pooling}": train_some(rank, size, kind, pooling, "weights")
        for kind in SHARDING_TYPES
        for pooling in ("sum", "mean")
    }
    return found | {
        "repeats": train_some(rank, size, "table_wise", "sum", "repeats"),
        "attended": attended(rank, size),
    }


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    result: dict[str, Any] = run_ranks(train_each, 1)[0]
    return result


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = run_ranks(train_each, 2)
    return result


@pytest.mark.parametrize("pooling", ["sum", "mean"])
@pytest.mark.parametrize("kind", SHARDING_TYPES)
def test_two_ranks_equal_one(
    kind: str, pooling: str, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    expected = torch.tensor(alone[f"table_wise {pooling}"])
    for result in (alone, *together):
        losses = torch.tensor(result[f"{kind} {pooling}"])
        torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)


def test_attention_beside_weighted_bags_is_the_same_on_two_ranks(
    alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    for result in together:
        found, expected = (torch.tensor(one["attended"]) for one in (result, alone))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_weight_of_2_is_an_id_twice(alone: dict[str, Any]) -> None:
    """Losses after updates: the gradients are equal, too."""
    weights, repeats = (torch.tensor(alone[name]) for name in ("table_wise sum", "repeats"))
    torch.testing.assert_close(weights, repeats, rtol=1e-5, atol=1e-6)
    mean = torch.tensor(alone["table_wise mean"])
    assert (weights - mean).abs().max() > 1e-4


def test_a_run_with_weighted_bags_resumes_bit_equal(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data")
    schema = Schema.load(data)
    for split in schema.splits.values():
        for name in split.files:
            table = pq.read_table(data / name)
            bags = [bag or [] for bag in table["likes"].to_pylist()]
            weights = [[float(k) - 0.5 for k in range(len(bag))] for bag in bags]
            column = pa.array(weights, type=pa.list_(pa.float32()))
            pq.write_table(table.append_column("w", column), data / name, row_group_size=5)
    update = {"weights": "w"}
    schema.model_copy(
        update={
            "sparse": tuple(
                one.model_copy(update=update if one.name == "likes" else {})
                for one in schema.sparse
            )
        }
    ).save(data)
    assert run_ranks(train_and_resume, 2, data, tmp_path) == [[0, 0]] * 2
    left, right = (
        tensors(tmp_path / name / "checkpoints" / "step-00000004", tmp_path)
        for name in ("whole", "again")
    )
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
