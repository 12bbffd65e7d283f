"""Row weights in the loss: a weighted mean over the global batch, on any ranks; and in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.config.sections import LossConfig
from pipeline.data.schema import SPLITS
from pipeline.data.split_counts import WeightSums
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, config, rank_batch
from tests.integration.training.runs import copy_killed_after, run, tensors
from tests.integration.training.test_balance import _LOSSES
from tests.pipeline.data.small_folder import random_rows, write_folder
from tests.ranks import run_ranks

_STEPS = 4
_SUMS = WeightSums(rows=900, positives={"click": 500, "finish": 300, "forward": 20})
_TRAIN = SCHEMA.splits["train"].model_copy(update={"weights": _SUMS})
_WEIGHTED = SCHEMA.model_copy(
    update={"weight_column": "row.weight", "splits": SCHEMA.splits | {"train": _TRAIN}}
)
_CASES: dict[str, dict[str, Any]] = {"fixed": {}, "micro": {}, **_LOSSES}


def train_each(rank: int, size: int, types: tuple[str, ...]) -> dict[str, Any]:
    """A few steps of each case, and naive losses of the same logits over the global batch."""
    results = {}
    for name, loss in _CASES.items():
        settings = config(types)
        settings = settings.model_copy(update={"loss": LossConfig.model_validate(loss)})
        if name == "micro":
            train = settings.train.model_copy(update={"micro_batch_size": 9})
            model = settings.model.model_copy(
                update={"tower": settings.model.tower.model_copy(update={"normalization": "none"})}
            )
            settings = settings.model_copy(update={"train": train, "model": model})
        chosen = resolve_features(settings, _WEIGHTED)
        world = this_world()
        _, parallel = build(settings, chosen, world)
        pipeline = open_pipeline(parallel, world)
        parallel.model.train()
        keys = [feature.name for feature in chosen.features]
        batches = [rank_batch(number, rank, size, keys) for number in range(_STEPS)]
        for number, batch in enumerate(batches):
            source = torch.Generator().manual_seed(100 * number + 1)
            rows = len(batch.weights)
            # Some are 0, and ranks differ in their sums.
            every = torch.rand(rows * size, generator=source) * torch.arange(rows * size)
            batch.weights = (every * (every > 1))[rank * rows : (rank + 1) * rows]
        losses, naive = [], []
        feed = iter(batches)
        for _ in range(_STEPS):
            output = pipeline.progress(feed)
            batch = output.batch
            loss_BT = binary_cross_entropy_with_logits(
                output.logits_BT, batch.labels.nan_to_num(), reduction="none"
            )
            loss_BT = loss_BT.where(~batch.labels.isnan(), 0) * batch.weights[:, None]
            sums = torch.cat([loss_BT.sum(0), batch.weights.sum()[None]])
            torch.distributed.all_reduce(sums)
            naive.append(sums[:-1] / sums[-1])
            torch.distributed.all_reduce(output.losses_T)
            losses.append(output.losses_T / size)
        results[name] = {"losses": torch.stack(losses), "naive": torch.stack(naive)}
    return results


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    result: dict[str, Any] = run_ranks(train_each, 1, ("table_wise",))[0]
    return result


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = run_ranks(train_each, 2, ("row_wise",))
    return result


@pytest.mark.parametrize("name", _CASES)
def test_two_ranks_equal_one_and_the_definition(
    name: str, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    """Losses after updates are equal only if the gradients were."""
    for result in (alone, *together):
        torch.testing.assert_close(result[name]["losses"], result[name]["naive"])
        torch.testing.assert_close(
            result[name]["losses"], alone[name]["losses"], rtol=1e-5, atol=1e-6
        )


def folder_of(path: Path) -> Path:
    schemas = {
        split: write_folder(path, random_rows(64, seed), split=split, weighted=True)
        for seed, split in enumerate(SPLITS)
    }
    splits = {split: schema.splits[split] for split, schema in schemas.items()}
    schemas["train"].model_copy(update={"splits": splits}).save(path)
    return path


def train_and_resume(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    words = ["--train.batch_size", "16", "--train.max_steps", "4", "--checkpoint.every", "2"]
    words += ["--train.log_every", "1"]
    codes = [run(rank, size, data, out / "whole", words)]
    if rank == 0:
        copy_killed_after(2, out / "whole", out / "again")
    torch.distributed.barrier()
    return [*codes, run(rank, size, data, out / "again", [], resume=True)]


def test_a_run_on_weighted_rows_resumes_bit_equal(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data")
    assert run_ranks(train_and_resume, 2, data, tmp_path) == [[0, 0]] * 2
    left, right = (
        tensors(tmp_path / name / "checkpoints" / "step-00000004", tmp_path)
        for name in ("whole", "again")
    )
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    one, other = (
        (tmp_path / name / "results.json").read_text(encoding="utf-8")
        for name in ("whole", "again")
    )
    assert one == other
    # One row in four has weight 0, and does not count.
    assert json.loads(one)["tasks"]["click"]["rows"] < 49
