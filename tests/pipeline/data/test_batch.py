"""A batch moves to a device as a whole."""

from __future__ import annotations

import pytest
import torch
from torchrec import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from pipeline.data.batch import Batch

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def make_batch(*, oracle: bool = True) -> Batch:
    return Batch(
        dense=torch.rand(3, 2),
        sparse=KeyedJaggedTensor(
            keys=["item", "history"],
            values=torch.arange(7),
            lengths=torch.tensor([1, 1, 1, 0, 3, 1]),
            stride=3,
        ),
        labels=torch.tensor([[0.0, 1.0], [1.0, float("nan")], [0.0, 0.0]]),
        weights=torch.tensor([1.0, 1.0, 0.0]),
        users=torch.arange(3),
        oracle=torch.rand(3, 2) if oracle else None,
    )


def parts(batch: Batch) -> list[torch.Tensor]:
    found = [batch.dense, batch.sparse.values(), batch.sparse.lengths(), batch.labels]
    found += [batch.weights, batch.users]
    return found if batch.oracle is None else [*found, batch.oracle]


def test_a_batch_fits_into_the_train_pipeline() -> None:
    assert isinstance(make_batch(), Pipelineable)


@pytest.mark.parametrize("oracle", [True, False])
def test_to_moves_every_part_and_keeps_the_layout(oracle: bool) -> None:
    batch = make_batch(oracle=oracle)
    moved = batch.to(torch.device("meta"), non_blocking=True)
    assert {part.device.type for part in parts(moved)} == {"meta"}
    assert [part.shape for part in parts(moved)] == [part.shape for part in parts(batch)]
    assert {part.device.type for part in parts(batch)} == {"cpu"}
    assert moved.sparse.keys() == ["item", "history"]
    assert moved.sparse.stride() == 3
    assert (moved.oracle is None) == (not oracle)


@needs_cuda
@pytest.mark.parametrize("oracle", [True, False])
def test_a_pinned_batch_reaches_the_gpu_unchanged(oracle: bool) -> None:
    batch = make_batch(oracle=oracle)
    pinned = batch.pin_memory()
    assert all(part.is_pinned() for part in parts(pinned))
    moved = pinned.to(torch.device("cuda"), non_blocking=True)
    moved.record_stream(torch.cuda.current_stream())
    for part, original in zip(parts(moved), parts(batch), strict=True):
        torch.testing.assert_close(part.cpu(), original, equal_nan=True)
