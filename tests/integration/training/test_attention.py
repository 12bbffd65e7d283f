"""Attention over unpooled rows: the same model under every sharding type, and over a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from embeddings.config import UNPOOLED_TYPES
from models.layers.config import AttentionConfig
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.dataloader import open_split
from pipeline.training.reset_tables import reset_tables
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.test_sharding import SCHEMA, train_some
from tests.integration.sharding.test_sharding import config as plain_config
from tests.integration.training.runs import copy_killed_after, run, tensors
from tests.integration.training.test_reset_tables import whole
from tests.ranks import run_ranks

_EVENTS = {"seen": {"history": "item"}}


def attending(types: tuple[str, ...], *, bags: bool = True) -> Config:
    plain = plain_config(types)
    attention = AttentionConfig(events=_EVENTS, hidden=8, bags=bags)
    return plain.model_copy(
        update={"model": plain.model.model_copy(update={"attention": attention})}
    )


def rejected(types: str) -> str:
    """The error of a plan of `types`."""
    try:
        build(attending((types,)), resolve_features(attending((types,)), SCHEMA), this_world())
    except UserError as error:
        return str(error)
    raise AssertionError(f"{types} was planned")


def train_each(rank: int, size: int) -> dict[str, Any]:
    """One start of the ranks for all types: starting costs more than training."""
    return {
        **{kind: train_some(rank, size, attending((kind,))) for kind in UNPOOLED_TYPES},
        "mixed": train_some(rank, size, attending(("grid_shard", "row_wise"))),
        "apart": train_some(rank, size, attending(("row_wise",), bags=False)),
        "rejected": [rejected(types) for types in ("grid_shard", "data_parallel")],
    }


@pytest.fixture(scope="module")
def alone() -> torch.Tensor:
    """The loss curve [steps, tasks] of one rank, on the planner's own choice."""
    return torch.tensor(run_ranks(train_some, 1, attending(()))[0]["losses"])


@pytest.fixture(scope="module")
def together() -> list[dict[str, Any]]:
    """By rank: sharding type -> what two ranks did under it."""
    ranks: list[dict[str, Any]] = run_ranks(train_each, 2)
    return ranks


@pytest.mark.parametrize("kind", UNPOOLED_TYPES)
def test_two_ranks_equal_one(
    kind: str, alone: torch.Tensor, together: list[dict[str, Any]]
) -> None:
    for result in together:
        assert set(result[kind]["types"].values()) == {kind}
        losses = torch.tensor(result[kind]["losses"])
        torch.testing.assert_close(losses, alone, rtol=1e-5, atol=1e-6)
    assert (together[0][kind]["ranks"]["item"] == 2) == (kind == "row_wise")


def test_a_history_may_stand_in_attention_alone(
    alone: torch.Tensor, together: list[dict[str, Any]]
) -> None:
    """Without its bag the model is another, and trains."""
    losses = torch.tensor(together[0]["apart"]["losses"])
    assert (losses - alone).abs().max() > 1e-4
    assert losses[0].sum() > losses[-1].sum()


def test_other_types_are_for_other_tables_alone(together: list[dict[str, Any]]) -> None:
    # What the planner picks for the other tables, of the two it may, is its own affair.
    assert together[0]["mixed"]["types"]["item"] == "row_wise"
    for result in together:
        for types, message in zip(("grid_shard", "data_parallel"), result["rejected"], strict=True):
            assert "table 'item', whose rows model.attention needs unpooled" in message
            assert f"not {types}; add one of them" in message


_WORDS = ["--embeddings.tables.*_id.dim", "8"]
for _what in ("video", "author"):
    _WORDS += [f"--model.attention.events.click.hist_click_{_what}", f"{_what}_id"]


def test_resume_is_bit_equal(synthetic: Path, tmp_path: Path) -> None:
    assert run_ranks(run, 2, synthetic, tmp_path / "whole", _WORDS) == [0, 0]
    cut = copy_killed_after(5, tmp_path / "whole", tmp_path / "cut")
    assert run_ranks(run, 2, synthetic, cut, [], True) == [0, 0]
    left, right = (
        tensors(tmp_path / name / "checkpoints" / "step-00000008", tmp_path)
        for name in ("whole", "cut")
    )
    assert list(left) == list(right)
    states = [name for name in left if name.startswith("/tables/")]
    assert any(".rows." in name and ".video_id." in name for name in states)
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def first_then_reset(rank: int, size: int, data: Path, words: list[str]) -> Any:
    """Table video_id at first, trained and reset, and its accumulators before and after that."""
    words = ["--data.path", str(data), "--sparse.reset_min_rows", "100", *words]
    config, world = resolve("debug", None, words), this_world()
    chosen = resolve_features(config, Schema.load(data))
    _, parallel = build(config, chosen, world)

    def state() -> list[torch.Tensor]:
        model, sums = parallel.model.state_dict(), parallel.model.fused_optimizer.state_dict()
        (name,) = (name for name in model if name.endswith(".video_id.weight"))
        (of_table,) = (v for k, v in sums["state"].items() if k.endswith(".video_id.weight"))
        (accumulators,) = (v for k, v in of_table.items() if k.endswith("momentum1"))
        return [whole(model[name]), whole(accumulators)]

    first = state()
    pipeline = open_pipeline(parallel, world)
    pipeline.progress(iter(open_split(config, chosen, "train", world, purpose="train")))
    trained = state()
    # Drained as far as weights go: the batches read ahead are never trained on.
    reset_tables(parallel, chosen.tables, config, 1)
    return first, trained, state()


def test_first_and_reset_tables_are_those_without_attention(synthetic: Path) -> None:
    row_wise = ["--sharding.types", "row_wise"]
    on = run_ranks(first_then_reset, 2, synthetic, [*_WORDS, *row_wise])[0]
    off = run_ranks(first_then_reset, 1, synthetic, [*_WORDS[:2], *row_wise])[0]
    assert torch.equal(on[0][0], off[0][0])
    assert not torch.equal(on[0][0], on[1][0])
    assert on[1][1].any()
    assert torch.equal(on[2][0], off[2][0])
    assert not on[2][1].any()
