"""Numbers on their way between ranks: what rounding to half the bits keeps of them."""

from __future__ import annotations

import pytest
import torch
from fbgemm_gpu.quantize_comm import QuantizedCommCodec
from fbgemm_gpu.split_embedding_configs import SparseType
from hypothesis import given
from hypothesis import strategies as st

from embeddings.config import CommDType
from embeddings.sharders import sent_as


def test_nothing_is_coded_where_all_stays_as_it_is() -> None:
    assert sent_as("fp32", "fp32", 100) is None


@given(st.integers(1, 2**20), st.integers(0, 2**31))
def test_gradients_of_a_mean_over_many_rows_keep_fp16s_precision(rows: int, seed: int) -> None:
    numbers = torch.rand(50, generator=torch.Generator().manual_seed(seed)) + 0.01
    codecs = sent_as("fp32", "fp16", rows)
    assert codecs is not None
    for exchange in codecs.values():
        gradients = numbers / rows
        back = exchange.backward.decode(exchange.backward.encode(gradients))
        assert exchange.backward.encode(gradients).dtype == torch.float16
        torch.testing.assert_close(back, gradients, rtol=2**-11, atol=0)
        assert torch.equal(exchange.forward.decode(exchange.forward.encode(numbers)), numbers)


def test_fbgemms_own_scale_loses_what_it_is_for() -> None:
    """The day this fails, FBGEMM divides after decoding, and its own codec can be taken."""
    tiny = torch.tensor([1e-8])
    stock = QuantizedCommCodec(SparseType.FP16, loss_scale=2.0**14)
    assert stock.decode(stock.encode(tiny)) == 0
    codecs = sent_as("fp32", "fp16", 2**14)
    assert codecs is not None
    ours = codecs["POOLED_EMBEDDINGS_ALL_TO_ALL"].backward
    torch.testing.assert_close(ours.decode(ours.encode(tiny)), tiny, rtol=2**-10, atol=0)


@pytest.mark.parametrize(("kind", "step"), [("fp16", 2**-11), ("bf16", 2**-8)])
def test_rows_are_rounded_to_the_nearest(kind: CommDType, step: float) -> None:
    rows = torch.rand(1000, generator=torch.Generator().manual_seed(0)) + 0.1
    codecs = sent_as(kind, "fp32", 100)
    assert codecs is not None
    there = codecs["POOLED_EMBEDDINGS_REDUCE_SCATTER"].forward
    torch.testing.assert_close(there.decode(there.encode(rows)), rows, rtol=step, atol=0)
