"""2D parallelism on four ranks: groups of two, whose tables are averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed.types import ShardedTensor

from pipeline.checkpoint.table_state import table_state
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.replica_groups import ReplicaGroupSync
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch, train_some
from tests.integration.training.runs import copy_killed_after, evaluated, run, tensors
from tests.ranks import run_ranks

_STEPS = 6
_KINDS = ("table_wise", "row_wise", "column_wise", "grid_shard")


def _grouped(kind: str, groups: int = 2, sync_every: int = 1) -> Config:
    plain = config((kind,))
    grouped = {"replica_groups": groups, "sync_every": sync_every}
    sharding = plain.sharding.model_copy(update=grouped)
    return plain.model_copy(update={"sharding": sharding})


def _train(rank: int, size: int, given: Config, *, alike: bool) -> dict[str, Any]:
    """Losses [steps, tasks]; with `alike` both groups get the same rows, half a rank's each.

    And the shards of this rank before the last averaging, and after it.
    """
    world = this_world()
    chosen = resolve_features(given, SCHEMA)
    _, parallel = build(given, chosen, world)
    pipeline = open_pipeline(parallel, world)
    sync = ReplicaGroupSync(parallel.model, given.sharding)
    parallel.model.train()
    keys = [feature.name for feature in chosen.features]
    at, of = (rank // 2, 2) if alike else (rank, size)
    batches = iter([rank_batch(step, at, of, keys) for step in range(_STEPS)])
    losses = []
    for step in range(1, _STEPS + 1):
        output = pipeline.progress(batches)
        loss = output.losses_T
        dist.all_reduce(loss)
        losses.append(loss / size)
        before = _shards(parallel)
        sync.after_step(step, output)
    sync.after_segment(_STEPS)
    return {"losses": torch.stack(losses), "before": before, "after": _shards(parallel)}


def _shards(parallel: Any) -> dict[str, Tensor]:
    found = {}
    state = {n: v for n, v in parallel.model.state_dict().items() if isinstance(v, ShardedTensor)}
    sums = table_state(parallel.model, parallel.optimizer)
    for kind, values in (("weight", state), ("sums", sums)):
        for name, value in values.items():
            assert isinstance(value, ShardedTensor)
            for shard in value.local_shards():
                place = f"{kind} {name} {shard.metadata.shard_offsets}"
                found[place] = shard.tensor.detach().clone()
    return found


def _all(rank: int, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in _KINDS:
        found[kind] = _train(rank, size, _grouped(kind), alike=True)
    found["apart"] = _train(rank, size, _grouped("row_wise"), alike=False)
    found["seldom"] = _train(rank, size, _grouped("table_wise", sync_every=4), alike=False)
    found["1D"] = train_some(rank, size, config(("row_wise",)))["losses"][:_STEPS]
    for name, groups in (("3", 3), ("1", 4)):
        try:
            _train(rank, size, _grouped("table_wise", groups), alike=False)
            found[f"{name} groups"] = "ran"
        except UserError as error:
            found[f"{name} groups"] = str(error)
    return found


@pytest.fixture(scope="module")
def by_rank() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_ranks(_all, 4)
    return found


@pytest.fixture(scope="module")
def two_ranks() -> Tensor:
    """Without groups, on two ranks."""
    return torch.tensor(run_ranks(train_some, 2, config(("row_wise",)))[0]["losses"][:_STEPS])


@pytest.mark.parametrize("kind", _KINDS)
def test_groups_that_see_the_same_are_one_group(
    kind: str, by_rank: list[dict[str, Any]], two_ranks: Tensor
) -> None:
    for found in by_rank:
        torch.testing.assert_close(found[kind]["losses"], two_ranks, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["apart", "seldom"])
def test_averaging_gives_the_mean_of_the_groups(way: str, by_rank: list[dict[str, Any]]) -> None:
    """Ranks 0 and 1 have the same shards, as have 2 and 3: weights and accumulators."""
    moved = 0
    for one, other in ((0, 1), (2, 3)):
        mine, theirs = by_rank[one][way], by_rank[other][way]
        assert mine["before"].keys() == theirs["before"].keys()
        for place, value in mine["before"].items():
            mean = (value + theirs["before"][place]) / 2
            torch.testing.assert_close(mine["after"][place], mean, rtol=1e-6, atol=1e-8)
            assert torch.equal(mine["after"][place], theirs["after"][place])
            moved += int(not torch.equal(value, theirs["before"][place]))
    assert moved > 0


def test_groups_train_nearly_as_one(by_rank: list[dict[str, Any]]) -> None:
    """Row-wise Adagrad of two halves, averaged, is not that of the whole: near, not equal."""
    off = (by_rank[0]["apart"]["losses"] - torch.tensor(by_rank[0]["1D"])).abs()
    assert off[0].max() < 1e-5
    assert 0 < off.max() < 0.05


def test_groups_must_come_out_even(by_rank: list[dict[str, Any]]) -> None:
    assert all("3 groups do not divide 4 ranks" in found["3 groups"] for found in by_rank)
    assert all(found["1 groups"] == "ran" for found in by_rank)  # of one rank each


_WORDS = ["--sharding.replica_groups", "2", "--sharding.types", "row_wise"]


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_resume_is_as_undisturbed_and_is_evaluated_on_other_ranks(
    synthetic: Path, tmp_path: Path, ranks: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = [*_WORDS, "--checkpoint.every", "3", "--sharding.sync_every", "2"]
    words += ["--train.max_steps", "6", "--checkpoint.keep", "3"]
    assert run_ranks(run, ranks, synthetic, whole, words) == [0] * ranks
    copy_killed_after(3, whole, parts)
    assert run_ranks(run, ranks, synthetic, parts, [], True) == [0] * ranks
    last = "checkpoints/step-00000006"
    first, second = tensors(whole / last, tmp_path), tensors(parts / last, tmp_path)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert run_ranks(evaluated, 1, parts)[0]["click"]["rows"] > 0
