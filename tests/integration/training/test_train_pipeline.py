"""What a step overlaps, and its micro-batches: against plain torch in one process, which looks rows
up when the pipeline's kind says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from embeddings.config import ShardingConfig
from models.layers.config import AttentionConfig
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.heartbeat import Pulse
from pipeline.ranks.world import World, this_world
from pipeline.training.build import build, build_step
from pipeline.training.resolve_features import resolve_features
from pipeline.training.train_pipeline import open_pipeline
from tests.integration.sharding.every_plan import SCHEMA, batch
from tests.integration.sharding.every_plan import config as plain_config
from tests.integration.sharding.moves import State, _state, _state_of
from tests.integration.sharding.one_process import OneProcess
from tests.integration.training.runs import copy_killed_after, run, tensors
from tests.ranks import run_ranks

_STEPS = 6
# Building a model asks no other rank.
ALONE = World(
    rank=0,
    size=1,
    local_size=1,
    device=torch.device("cpu"),
    control=None,  # type: ignore[arg-type]
    pulse=Pulse(),
)
_SHARDED = ("table_wise", "row_wise")
# By name: fields of train.
KINDS: dict[str, dict[str, Any]] = {
    "sparse_dist": {},
    "base": {"pipeline": "base"},
    "semi_sync": {"pipeline": "semi_sync"},
    "micro-batches": {"micro_batch_size": 3},
    "one micro-batch": {"micro_batch_size": 99},
    "semi_sync micro-batches": {"pipeline": "semi_sync", "micro_batch_size": 5},
}


def config(kind: str, types: tuple[str, ...] = _SHARDED) -> Config:
    run = plain_config()
    train = run.train.model_copy(update=KINDS[kind])
    return run.model_copy(update={"train": train, "sharding": ShardingConfig(types=types)})


def without_attention(run: Config) -> Config:
    model = run.model.model_copy(update={"attention": AttentionConfig()})
    return run.model_copy(update={"model": model})


class LateRows(OneProcess):
    """Each step but the first sees the rows as they were before the step before it."""

    def _one(self, step: int) -> Tensor:
        seen = {name: weight.detach().clone() for name, weight in self.weights.items()}
        newest = getattr(self, "newest", seen)
        losses = super()._one(step)
        with torch.no_grad():
            moved = {name: weight - seen[name] for name, weight in self.weights.items()}
            for name, weight in self.weights.items():
                weight.copy_(newest[name])
            self.newest = {name: newest[name] + moved[name] for name in newest}
        return losses


def alone(rank: int, size: int) -> dict[str, State]:
    run = config("base")
    dims = {table.name: table.dim for table in resolve_features(run, SCHEMA).tables}
    found = {}
    for name, kind in (("now", OneProcess), ("late", LateRows)):
        one = kind(run, this_world(), dims)
        losses = one.steps(0, _STEPS)
        if isinstance(one, LateRows):
            for table, weight in one.weights.items():
                weight.data.copy_(one.newest[table])
        found[name] = _state_of(one, losses)
    return found


def over_ranks(rank: int, size: int) -> dict[str, State] | None:
    world = this_world()
    found = {}
    for kind in KINDS:
        run = config(kind)
        chosen = resolve_features(run, SCHEMA)
        _, parallel = build(run, chosen, world)
        pipeline = open_pipeline(parallel, world, config=run)
        losses = []
        # An evaluation in the middle, on a drained pipeline, as in a run.
        for steps in (range(_STEPS), range(50, 52)):
            batches = iter([batch(step, world, chosen) for step in steps])
            parallel.model.train(steps.start == 0)
            with torch.set_grad_enabled(steps.start == 0):
                for step in steps:
                    output = pipeline.progress(batches)
                    if step < _STEPS:
                        torch.distributed.all_reduce(output.losses_T)
                        losses.append(output.losses_T / size)
                        assert len(output.logits_BT) == len(output.batch.labels)
                with pytest.raises(StopIteration):
                    pipeline.progress(batches)
        found[kind] = _state(parallel, torch.stack(losses))
    return found if world.is_first else None


@pytest.fixture(scope="module")
def expected() -> dict[str, State]:
    found: dict[str, State] = run_ranks(alone, 1)[0]
    return found


@pytest.fixture(scope="module", params=[1, 2])
def found(request: pytest.FixtureRequest) -> dict[str, State]:
    states: dict[str, State] = run_ranks(over_ranks, request.param)[0]
    return states


def assert_close(left: State, right: State) -> None:
    torch.testing.assert_close(left.losses, right.losses, rtol=1e-5, atol=1e-6)
    for part in ("weights", "sums", "tower"):
        mine, theirs = getattr(left, part), getattr(right, part)
        assert theirs
        for name, value in theirs.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ["sparse_dist", "base", "micro-batches", "one micro-batch"])
def test_it_trains_as_one_process(
    kind: str, found: dict[str, State], expected: dict[str, State]
) -> None:
    assert_close(found[kind], expected["now"])


@pytest.mark.parametrize("kind", ["semi_sync", "semi_sync micro-batches"])
def test_semi_sync_trains_on_rows_of_one_step_before(
    kind: str, found: dict[str, State], expected: dict[str, State]
) -> None:
    assert_close(found[kind], expected["late"])
    assert (found[kind].losses[2:] - expected["now"].losses[2:]).abs().max() > 1e-4


def test_base_is_the_same_to_the_bit(found: dict[str, State]) -> None:
    for name, value in found["base"].weights.items():
        assert torch.equal(value, found["sparse_dist"].weights[name])


def rejected(rank: int, size: int) -> list[str]:
    world = this_world()
    messages = []
    replicated = without_attention(config("semi_sync", ("data_parallel",)))
    prefetch = replicated.model_copy(
        update={"train": replicated.train.model_copy(update={"pipeline": "prefetch"})}
    )
    for asked in (replicated, prefetch):
        _, parallel = build(asked, resolve_features(asked, SCHEMA), world)
        with pytest.raises(UserError) as error:
            open_pipeline(parallel, world, config=asked)
        messages.append(str(error.value))
    return messages


def test_what_cannot_be_had_is_one_line() -> None:
    replicated, prefetch = run_ranks(rejected, 1)[0]
    assert "semi_sync needs tables that are updated in backward" in replicated
    assert "prefetch fills caches on a GPU, and this rank runs on cpu" in prefetch


@pytest.mark.parametrize("kind", ["pcgrad", "gradnorm"])
def test_micro_batches_and_a_balance_of_gradients_are_rejected(kind: str) -> None:
    run = config("micro-batches")
    loss = run.loss.model_validate({"balance": {"kind": kind}})
    run = run.model_copy(update={"loss": loss})
    with pytest.raises(UserError, match=rf"train.micro_batch_size: 3: loss.balance.kind {kind}"):
        build_step(run, resolve_features(run, SCHEMA), ALONE)


class _Live:
    """Bytes of activations that backward waits for: now, and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> Any:
        held = _Held(self, tensor)
        self.now += tensor.nbytes
        self.most = max(self.most, self.now)
        return held


class _Held:
    def __init__(self, live: _Live, tensor: Tensor) -> None:
        self._live, self.tensor = live, tensor

    def __del__(self) -> None:
        self._live.now -= self.tensor.nbytes


def memory(rank: int, size: int) -> list[int]:
    world = this_world()
    most = []
    for kind in ("base", "micro-batches"):
        run = without_attention(config(kind))
        chosen = resolve_features(run, SCHEMA)
        step, _ = build(run, chosen, world)
        head = step.model.head
        real, live = head.logits, _Live()

        def logits(v_BF: Tensor, real: Any = real, live: _Live = live) -> Tensor:
            with torch.autograd.graph.saved_tensors_hooks(live.pack, lambda held: held.tensor):
                found: Tensor = real(v_BF)
                return found

        head.logits = logits  # type: ignore[method-assign]
        total, _ = step.train()(batch(0, world, chosen))
        total.backward()
        most.append(live.most)
    return most


def test_micro_batches_take_less_memory() -> None:
    whole, split = run_ranks(memory, 1)[0]
    # Weights are among what is saved; they stay.
    assert 0 < split < whole / 2


def test_resume_is_bit_equal(synthetic: Path, tmp_path: Path) -> None:
    """Rows are late from one drain to the next, and a save is one: saves at the same steps. On four
    ranks, where sums hang on their order."""
    words = ["--train.pipeline", "semi_sync", "--train.micro_batch_size", "50"]
    words += [
        "--sharding.types",
        "table_wise,row_wise",
        "--checkpoint.every",
        "4",
        "--checkpoint.keep",
        "9",
    ]
    words += ["--model.tower.dropout", "0.1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_ranks(run, 4, synthetic, whole, words) == [0] * 4
    copy_killed_after(4, whole, parts)
    assert run_ranks(run, 4, synthetic, parts, [], True) == [0] * 4
    left, right = (
        tensors(out / "checkpoints" / "step-00000008", tmp_path) for out in (whole, parts)
    )
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
