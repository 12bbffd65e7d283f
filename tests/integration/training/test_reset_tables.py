"""Tables that begin each epoch anew: under any plan, and over a resume at an epoch's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchrec.distributed.types import ShardedTensor

from pipeline.checkpoint.layout import saved_steps
from pipeline.config.overrides import resolve
from pipeline.data.schema import Schema
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.reset_tables import reset_tables
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.training.runs import copy_killed_after, run, tensors
from tests.ranks import run_ranks

_RESET, _KEPT = "user_id", "tab"


def whole(found: Any) -> torch.Tensor:
    """A table, or its accumulators, put together from all ranks' parts; `found` may be None."""
    mine: Any = []
    if isinstance(found, ShardedTensor):
        mine = [(shard.metadata.shard_offsets[0], shard.tensor) for shard in found.local_shards()]
    elif found is not None:
        mine = [(0, found.detach().clone())]
    parts: Any = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    by_row = dict(part for of_rank in parts for part in of_rank)
    return torch.cat([by_row[row] for row in sorted(by_row)])


def trained_then_reset(rank: int, size: int, data: Path, types: str) -> Any:
    """Two steps, then a reset: tables and accumulators of `_RESET` and `_KEPT`, as lists."""
    words = ["--data.path", str(data), "--sharding.types", types, "--sparse.reset_min_rows", "140"]
    config, world = resolve("debug", None, words), this_world()
    chosen = resolve_features(config, Schema.load(data))
    _, parallel = build(config, chosen, world)
    pipeline = open_pipeline(parallel, world)
    source = iter(open_split(config, chosen, "train", world, purpose="train"))
    batches = iter([next(source), next(source)])
    pipeline.progress(batches)
    pipeline.progress(batches)

    def state() -> dict[str, torch.Tensor]:
        found = {}
        sums: dict[str, Any] = {}
        for name, optimizer in parallel.optimizer.optimizers:
            if name != "dense":
                sums |= optimizer.state_dict()["state"]
        for table in (_RESET, _KEPT):
            of_table = f".{table}.weight"
            for key, value in parallel.model.state_dict().items():
                if key.endswith(of_table):
                    found[f"{table}/weight"] = whole(value)
            state: dict[str, Any] = next(
                (value for key, value in sums.items() if key.endswith(of_table)), {}
            )
            accumulators = (v for k, v in state.items() if k.endswith(("momentum1", "sum")))
            found[f"{table}/sum"] = whole(next(accumulators, None))
        return found

    before = state()
    reset_tables(parallel, chosen.tables, config, 1)
    return before, state()


@pytest.fixture(scope="module")
def whole_tables(synthetic: Path) -> Any:
    (result,) = run_ranks(trained_then_reset, 1, synthetic, "table_wise")
    return result


@pytest.mark.parametrize("types", ["row_wise", "table_wise", "data_parallel"])
def test_large_tables_begin_anew_and_small_ones_stay(
    whole_tables: Any, synthetic: Path, types: str
) -> None:
    before, after = run_ranks(trained_then_reset, 2, synthetic, types)[0]
    assert not torch.equal(before[f"{_RESET}/weight"], after[f"{_RESET}/weight"])
    assert before[f"{_RESET}/sum"].any()
    assert not after[f"{_RESET}/sum"].any()
    for what in ("weight", "sum"):
        assert torch.equal(before[f"{_KEPT}/{what}"], after[f"{_KEPT}/{what}"])
    # The same new values under every plan.
    assert torch.equal(after[f"{_RESET}/weight"], whole_tables[1][f"{_RESET}/weight"])


def test_a_resume_at_an_epochs_end_resets_as_if_undisturbed(
    synthetic: Path, tmp_path: Path
) -> None:
    rows = Schema.load(synthetic).splits["train"].rows
    steps = rows // 512
    words = ["--train.batch_size", "512", "--train.epochs", "2", "--sparse.reset_min_rows", "140"]
    words += ["--train.eval_every", "1000"]
    end = ["--train.max_steps", str(steps + 2)]
    assert run_ranks(run, 2, synthetic, tmp_path / "whole", [*words, *end]) == [0, 0]
    cut = copy_killed_after(steps, tmp_path / "whole", tmp_path / "cut")
    assert saved_steps(cut / "checkpoints") == [steps]
    assert run_ranks(run, 2, synthetic, cut, [], True) == [0, 0]
    name = f"step-{steps + 2:08d}"
    left = tensors(tmp_path / "whole" / "checkpoints" / name, tmp_path)
    right = tensors(cut / "checkpoints" / name, tmp_path)
    assert list(left) == list(right)
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
